"""The whole catalogue of steps: importing this registers every step there is, planned by a scenario or not yet."""

from __future__ import annotations

import importlib
import pkgutil

import actions
import commands

for package in (actions, commands):
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(found.name)
