"""The real drizzle-kit, which npm installs once and for all sessions."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rehearsal.migrations.project import FILES


def drizzle_modules() -> Path:
    """The folder node_modules with drizzle-kit in it; the test is skipped if npm can't install it here."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed: the real drizzle-kit can't run")
    wanted = FILES / "package.json"
    version = hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]
    home = Path.home() / ".cache" / "dr-tests" / f"drizzle-{version}"
    if not home.exists():
        fresh = home.with_name(f"{home.name}-{os.getpid()}")  # Renamed when it's complete; an install may be killed.
        fresh.mkdir(parents=True)
        shutil.copy(wanted, fresh)
        argv = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline"]
        done = subprocess.run(argv, cwd=fresh, capture_output=True, text=True, timeout=150, check=False)
        if done.returncode:
            shutil.rmtree(fresh)
            pytest.skip(f"npm can't install drizzle-kit here: {done.stderr.strip()[-200:]}")
        with contextlib.suppress(OSError):  # Another session was faster; its install is as good.
            fresh.rename(home)
    return home / "node_modules"
