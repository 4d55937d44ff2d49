"""`python -m rehearsal.fleet`."""

import asyncio

from rehearsal.fleet.server import main, parse

if __name__ == "__main__":
    arguments = parse()
    asyncio.run(main(arguments.folder, arguments.hosts, arguments.heartbeats, arguments.every))
