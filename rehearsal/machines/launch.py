"""How a rehearsal starts a program: the one place, so that it can be forked from one that has imported all it needs already."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Launch = Callable[..., Awaitable[asyncio.subprocess.Process]]
_launch: Launch = asyncio.create_subprocess_exec


async def launch(*argv: str, **options: Any) -> asyncio.subprocess.Process:
    """Start a program, with the options of `asyncio.create_subprocess_exec`."""
    return await _launch(*argv, **options)


def launch_by(other: Launch) -> None:
    """Start every program of this process in another way from now on, which takes the same options."""
    global _launch
    _launch = other
