"""`dr --rehearsal`: the program talks to the rehearsal that runs in this folder, and to nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bot.settings import BadSettings

WORLD = Path(".rehearsal/world.json")  # written by `rehearse start`, and gone when that ends
OUTSIDE = ("AWS_", "SLACK_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "DATABASE_URL", "DR_DATABASE_URL")  # leads elsewhere


def join(world: Path = WORLD) -> Path:
    """Take the rehearsal's variables in place of those that lead out of it; returns its settings file.

    Raises `BadSettings` if no rehearsal runs here.
    """
    try:
        told = json.loads(world.read_text())
        os.kill(int(told["processes"]["rehearsal"]), 0)  # asks only if the process is there
        config, environment = Path(told["config"]), {str(name): str(value) for name, value in told["environment"].items()}
    except OSError as error:
        raise BadSettings(
            f"No rehearsal runs in this folder ({world}). Start one with `make rehearse`, or leave out --rehearsal."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadSettings(f"{world} isn't what `rehearse start` writes; start the rehearsal again.") from error
    for name in [name for name in os.environ if name.upper().startswith(OUTSIDE)]:
        del os.environ[name]
    os.environ.update(environment)
    return config
