"""Serve the workspace alone, for trying it in a browser: `python -m rehearsal.slack --port 8044`."""

from __future__ import annotations

import argparse
import asyncio
import logging
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from rehearsal.slack.members import DEFAULT_PERSONS
from rehearsal.slack.server import application
from rehearsal.slack.workspace import Workspace

LOG = logging.getLogger("rehearsal.slack")
BARE_SCOPES = "commands chat:write channels:read channels:history users:read usergroups:read pins:read pins:write"
BARE_MANIFEST: dict[str, Any] = {
    "features": {"slash_commands": [{"command": "/dr", "should_escape": True}]},
    "oauth_config": {"scopes": {"bot": BARE_SCOPES.split()}},
}


async def serve(port: int, manifest: dict[str, Any]) -> None:
    """Serve on this port of the loopback address until interrupted."""
    workspace = Workspace(manifest=manifest, persons=DEFAULT_PERSONS, channels=("incident", "general"))
    runner = web.AppRunner(application(workspace), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    LOG.info("The workspace is at http://127.0.0.1:%d/ and its Web API at http://127.0.0.1:%d/api/.", port, port)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.slack", description=__doc__)
    parser.add_argument("--port", type=int, default=8044)
    parser.add_argument("--manifest", type=Path, help="the app's manifest.yml; a bare one if it is not given")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    manifest = yaml.safe_load(options.manifest.read_text()) if options.manifest else BARE_MANIFEST
    try:
        asyncio.run(serve(options.port, manifest))
    except KeyboardInterrupt:
        LOG.info("The workspace is closed.")


if __name__ == "__main__":
    main()
