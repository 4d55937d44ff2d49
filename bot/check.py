"""`dr check`: what would fail tonight? Settings are read already; Slack, AWS, the database and the addresses are asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace

from slack_sdk.errors import SlackApiError

from actions.db.migrations import what_is_missing
from actions.errors import ActionError
from actions.scrub import plain, scrub
from actions.step import Step
from actions.values import Finding, ok, stop, warn
from actions.world import World
from bot.settings import BadSettings, Settings
from bot.slack.app import slack_client
from bot.slack.errors import LOST
from commands.facts import UNREAD
from commands.region.rehearsed import steady
from commands.scenario import SCENARIOS

SCOPES = frozenset(
    {"commands", "chat:write", "channels:history", "channels:read", "users:read", "usergroups:read", "pins:write", "files:write"}
)
NEEDED = {"database restore": {"time": "10m"}}  # the arguments without which a scenario can't be planned
OWN = {
    "backup drop",
    "corruption copy",
    "corruption reindex",
    "corruption repair",
    "corruption undo",
}  # they need a table, an index or a repair; what they read of AWS, a restore reads, too


async def check(settings: Settings) -> list[Finding]:
    """Ask everything that a recovery would need, concurrently; a finding for each, the bad ones with what to do."""
    world = World(settings)
    parts = {
        "Slack": _slack(settings),
        "AWS": _identity(world),
        "The plans": _plans(world),
        **{f"Database {name}": _database(world, name) for name in settings.databases},
        **{f"Health of {name}": _health(world, service.health_url) for name, service in settings.services.items()},
        "The reports": _reports(world),
        **({"The agents' hosts": _agents(world)} if settings.agents else {}),
        **({"The migrations": _migrations(world)} if settings.migrations.dir else {}),
        "Verifications of backups": _verifications(world),
        "A lost region": steady(world),
    }
    try:
        answers = await asyncio.gather(*(_whatever_happens(name, part) for name, part in parts.items()))
    finally:
        await world.close()
    found = [ok("The settings are well-formed."), *(finding for answer in answers for finding in answer)]
    return [replace(finding, says=scrub(finding.says), evidence=scrub(finding.evidence)) for finding in found]


def once(findings: Sequence[Finding]) -> list[Finding]:
    """The findings for a person: a cause that affects several things is said once, with what it affects."""
    causes: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        _, _, after = finding.says.partition(": ")
        cause = after or finding.says if finding.level != "ok" else finding.says
        causes.setdefault((finding.level, cause), []).append(finding)
    return [found[0] if len(found) == 1 else _merge(cause, found) for (_, cause), found in causes.items()]


def _merge(cause: str, found: Sequence[Finding]) -> Finding:
    affected = dict.fromkeys(finding.says.partition(": ")[0] for finding in found)
    return replace(found[0], says=f"{cause} This affects {len(affected)} things: {', '.join(affected)}.")


async def _whatever_happens(name: str, part: Awaitable[list[Finding]]) -> list[Finding]:
    """The findings of a part; an error of it is one too, because tonight it would be in the way, and hides no other part's."""
    try:
        return await part
    except Exception as error:
        return [stop(f"{name} could not be checked: {plain(error)}.")]


async def _slack(settings: Settings) -> list[Finding]:
    try:
        client = slack_client(settings)
        answer = await client.auth_test()
        channel = (await client.conversations_info(channel=settings.slack.channel))["channel"]
        if settings.slack.mode == "http":
            _ = settings.signing_secret
        else:
            await client.apps_connections_open(app_token=settings.app_token.get_secret_value())
    except BadSettings as error:
        return [stop(str(error))]
    except SlackApiError as error:
        return [stop("Slack refused; look at the app's tokens, scopes and channel.", evidence=plain(error))]
    except LOST as error:
        return [stop(f"Slack at {settings.slack.api_url} does not answer.", evidence=plain(error))]
    given = {scope.strip() for scope in answer.headers.get("x-oauth-scopes", "").split(",")}
    missing = sorted(SCOPES - given)
    scopes = (
        stop(f"The Slack app lacks the scopes {', '.join(missing)}; manifest.yml has them all.")
        if missing
        else ok("Slack's scopes suffice.")
    )
    shared = (
        [stop("The incident channel is shared with another company; choose one that is not.")]
        if channel.get("is_ext_shared")
        else []
    )
    return [ok(f"Slack knows this bot as {answer['user']} in {answer['team']}."), scopes, *shared]


async def _identity(world: World) -> list[Finding]:
    from actions.aws import sts  # boto3 is heavy, and other words of the program do without it

    region = world.site.aws.region
    return [ok(f"AWS in {region} knows this bot as {(await sts.who(world, region)).arn}.")]


async def _plans(world: World) -> list[Finding]:
    """Make every scenario's plan: that asks all reads, and names the permissions its actions need."""
    findings: list[Finding] = []
    for name, scenario in SCENARIOS.items():
        if name in OWN or not _applies(world, name):
            continue
        try:
            plan = await scenario.make(world, NEEDED.get(name, {}))
        except Exception as error:  # whatever it is, tonight it would be in the way
            findings.append(stop(f"/dr {name} cannot be planned: {plain(error)}."))
            continue
        silent = [f for f in plan.findings if UNREAD in f.says]
        findings += [stop(f"/dr {name}: {f.says}", f.evidence) for f in silent] or [ok(f"/dr {name} can be planned.")]
        findings += await _permissions(world, _of(plan.actions()))
    return findings


def _applies(world: World, scenario: str) -> bool:
    """Whether dr.toml has what a scenario is about."""
    if scenario.startswith("agents "):
        return world.site.agents is not None
    return not scenario.startswith("region ") or any(database.replica for database in world.site.databases.values())


def _of(actions: tuple[Step, ...]) -> list[str]:
    return sorted(
        {p for action in actions for p in action.permissions if not p.startswith(("postgresql:", "ssh:", "terraform:"))}
    )


async def _reports(world: World) -> list[Finding]:
    """What only the reports need: to list snapshots, and to write heartbeats."""
    from actions.aws.backups import PERMISSIONS
    from actions.db.heartbeat import may_write

    findings = await _permissions(world, PERMISSIONS)
    for name, database in world.site.databases.items():
        if table := database.heartbeat_table:
            wrong = await may_write(world, world.site.database(name), table)
            findings.append(stop(f"No heartbeats for {name}: {wrong}") if wrong else ok(f"Heartbeats of {name} go to {table}."))
    return findings


async def _verifications(world: World) -> list[Finding]:
    """Whether the bot's role may create databases, as it must in a copy to plant damage there."""
    from actions.db.negative_control import may_create_databases

    findings = []
    for name in _primaries(world):
        may = await may_create_databases(world, world.site.database(name))
        says = f"The bot's role may {'' if may else 'not '}create databases in copies of {name}"
        findings.append(
            ok(f"{says}.") if may else stop(f"{says}, so `/dr backup verify` would refuse. See docs/database-role.md.")
        )
    return findings


async def _permissions(world: World, needed: Sequence[str]) -> list[Finding]:
    from actions.aws.iam import denied

    if not needed:
        return []
    try:
        refused = await denied(world, needed)
    except ActionError as error:
        return [warn(f"Whether AWS would allow {', '.join(needed)} could not be simulated; it is unknown.", str(error))]
    return [stop(f"AWS would refuse {p} to this role; add it to the role's policy.") for p in refused] or [
        ok(f"AWS allows {', '.join(needed)}.")
    ]


def _primaries(world: World) -> list[str]:
    replicas = {database.replica for database in world.site.databases.values()}
    return [name for name in world.site.databases if name not in replicas]


async def _agents(world: World) -> list[Finding]:
    """Whether the bot could sign in to a few of the agents' hosts and restart their agents."""
    from actions.ssh.readiness import readiness  # asyncssh is heavy, too

    return await readiness(world)


async def _migrations(world: World) -> list[Finding]:
    """Whether a restore could run the pending migrations on this machine."""
    wanted = world.site.migrations
    missing = await asyncio.to_thread(what_is_missing, wanted.dir, wanted.command)
    found = [warn(f"Migrations: {says}", "Until then a restore leaves them to be run by hand.") for says in missing]
    return found or [ok(f"Migrations can be run here: {wanted.dir} is there, and so is what `{wanted.command}` needs.")]


async def _database(world: World, name: str) -> list[Finding]:
    diagnosis = await world.database(world.site.database(name)).diagnose()
    is_replica = name not in _primaries(world)
    if diagnosis.kind == "answers" or (is_replica and diagnosis.kind == "read-only"):
        return [ok(f"{'Replica' if is_replica else 'Database'} {name} answers.", diagnosis.evidence)]
    return [stop(f"Database {name} does not serve this bot: {diagnosis.says}", diagnosis.evidence)]


async def _health(world: World, url: str) -> list[Finding]:
    answer = await world.http.get(url)
    return [(ok if answer.status == 200 else warn)(f"{url} answers {answer.status}.")]
