"""Serve the workspace alone, to try it in a browser: `python -m rehearsal.slack --port 8044`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
from pathlib import Path
from typing import Any

import yaml

from rehearsal.slack.members import PEOPLE
from rehearsal.slack.server import serve
from rehearsal.slack.workspace import Workspace

LOG = logging.getLogger("rehearsal.slack")
BARE_SCOPES = "commands chat:write channels:read channels:history users:read usergroups:read pins:read pins:write"
BARE_MANIFEST: dict[str, Any] = {
    "features": {"slash_commands": [{"command": "/dr", "should_escape": True}]},
    "oauth_config": {"scopes": {"bot": BARE_SCOPES.split()}},
}


async def run(port: int, manifest: dict[str, Any]) -> None:
    """Serve on this port of the loopback address until interrupted."""
    workspace = Workspace(manifest=manifest, people=PEOPLE, channels=("incident", "general"))
    async with serve(workspace, socket.create_server(("127.0.0.1", port))) as url:
        LOG.info("The workspace is at %s/ and its Web API at %s/api/.", url, url)
        await asyncio.Event().wait()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.slack", description=__doc__)
    parser.add_argument("--port", type=int, default=8044)
    parser.add_argument("--manifest", type=Path, help="the app's manifest.yml; a bare one if it is not given")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    manifest = yaml.safe_load(options.manifest.read_text()) if options.manifest else BARE_MANIFEST
    try:
        asyncio.run(run(options.port, manifest))
    except KeyboardInterrupt:
        LOG.info("The workspace is closed.")


if __name__ == "__main__":
    main()
