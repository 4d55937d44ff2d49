"""Scenario 4, agents offline: what is wrong with them, and a rolling restart that stops before it does harm."""

from commands.agents import diagnose as diagnose
from commands.agents import restart as restart
