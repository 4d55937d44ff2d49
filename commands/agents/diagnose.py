"""`/dr agents diagnose`: why agents are offline, from the control plane's side and from a sample of their hosts."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actions.ssh import lines as command
from actions.ssh.batch import named
from actions.ssh.heartbeats import Beats
from actions.ssh.inventory import Host
from actions.ssh.reply import Lost, NotReached, Reply
from actions.ssh.rollout import spread
from actions.values import count
from actions.world import World
from commands.agents.gate import Door
from commands.agents.likeness import Group, grouped
from commands.agents.seen import Seen, chosen, inventory, read_beats, read_gate
from commands.facts import Fact
from commands.memory import Memory
from commands.report import Line, Mark, line, report, span, unread

if TYPE_CHECKING:
    from actions.ssh.client import Session

GATE_SECONDS = 5.0  # within the 6 s of a report; the other two come one after the other
BEATS_SECONDS, HOST_SECONDS = 1.9, 3.3
SAMPLE, HEALTHY_SAMPLE = 8, 2
LOG_LINES, SHOWN_GROUPS = 100, 4
FULL_PERCENT = 97
SKEW_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a host reported. `trouble` is why it reported nothing, with its kind; what it didn't report is None or empty."""

    host: Host
    kind: str = ""
    trouble: str = ""
    running: bool | None = None
    word: str = ""
    log: str = ""
    disk: int | None = None
    skew: float | None = None


@report("agents diagnose")
async def diagnose(world: World, memory: Memory, *, hosts: str = "") -> list[Line]:
    """Show whether heartbeats get through, which agents are offline, and what a sample of their hosts says about the cause."""
    site, known = await inventory(world)
    picked = chosen(known, hosts)
    gate, (beats, probes) = await asyncio.gather(read_gate(world, seconds=GATE_SECONDS), _from_hosts(world, picked))
    return list(judged(Seen(site=site, chosen=picked, gate=gate, beats=beats), probes))


async def _from_hosts(world: World, hosts: Sequence[Host]) -> tuple[Fact[Beats], list[Probe]]:
    """The heartbeats, and then what a sample of the hosts says; who is in the sample depends on the heartbeats."""
    beats = await read_beats(world, hosts, seconds=BEATS_SECONDS)
    healthy = beats.value.fresh(world.agents.fresh_seconds) if beats.value else set()
    return beats, list(await asyncio.gather(*(probe(world, host) for host in sample(hosts, healthy))))


def sample(hosts: Sequence[Host], healthy: set[str]) -> list[Host]:
    """Hosts of agents that are offline, as different as can be, and a few of healthy ones to compare with."""
    offline = [host for host in hosts if host.name not in healthy]
    fine = [host for host in hosts if host.name in healthy]
    return [*spread(offline)[:SAMPLE], *spread(fine)[:HEALTHY_SAMPLE]]


async def probe(world: World, host: Host) -> Probe:
    """Ask one host; it gets a deadline, and whatever it does is an answer."""
    try:
        async with asyncio.timeout(HOST_SECONDS), world.ssh.session(host) as session:
            return await _asked(world, host, session)
    except NotReached as error:
        return Probe(host=host, kind=error.kind, trouble=str(error))
    except TimeoutError:
        return Probe(host=host, kind="unreachable", trouble=f"{host} gave no answer within {HOST_SECONDS:g} s.")
    except Exception as error:  # a host must not hide what the others say
        return Probe(host=host, kind="failed", trouble=str(error))


async def _asked(world: World, host: Host, session: Session) -> Probe:
    """Four questions at once: sshd allows ten sessions in a connection."""
    asked = (command.show(world.agents, host), command.logs(world.agents, host, lines=LOG_LINES), command.DISK, command.CLOCK)
    began = time.time()
    state, log, disk, clock = await asyncio.gather(*(_reply(session, text) for text in asked))
    told = command.state_of(host, state.out) if state and state.good else None
    now = int(clock.out.strip()) if clock and clock.good and clock.out.strip().isdecimal() else None
    return Probe(
        host=host,
        running=told.running if told else None,
        word=told.word if told else "",
        log=log.out if log and log.good else "",
        disk=command.disk_percent(disk.out) if disk else None,
        skew=None if now is None else now - (began + time.time()) / 2,
    )


async def _reply(session: Session, text: str) -> Reply | None:
    try:
        return await session.run(text, seconds=HOST_SECONDS)
    except Lost:
        return None


def judged(seen: Seen, probes: Sequence[Probe]) -> Iterator[Line]:
    """The lines: the cause first, then what it rests on."""
    groups = grouped({each.host.name: each.log for each in probes if each.running is not True and each.log})
    yield from unread((seen.gate, seen.beats), Mark.WARN)
    yield cause(seen, probes, groups)
    yield from _gate(seen)
    yield from _fleet(seen)
    yield from _units(probes)
    yield from _hosts_in_trouble(probes)
    yield from _machines(probes)
    for group in groups[:SHOWN_GROUPS]:
        says = f"{count(len(group.hosts), 'host')} of the sample: {group.example}"
        yield line(Mark.WARN, "last errors", named(group.hosts), says, "The log of the last hour.")


def cause(seen: Seen, probes: Sequence[Probe], groups: Sequence[Group]) -> Line:
    """The likely cause in a sentence, and the command that helps."""
    level, says = _cause(seen, probes, groups)
    return line(level, "likely cause", "agents", says)


def _cause(seen: Seen, probes: Sequence[Probe], groups: Sequence[Group]) -> tuple[Mark, str]:
    door = seen.gate.value.door if seen.gate.value else None
    if door is Door.OPEN:
        return (
            Mark.STOP,
            "The control plane takes heartbeats from anybody. Tell whoever looks after its security before all else.",
        )
    if door is Door.DOWN:
        return Mark.STOP, "The control plane is down: plan `/dr control-plane restart`. Agents report by themselves afterwards."
    if door is Door.ELSEWHERE:
        return (
            Mark.STOP,
            "The heartbeat address takes no heartbeats: look at [agents] heartbeat_url and the last deployment's routes.",
        )
    if seen.beats.value is None:
        return Mark.UNKNOWN, "We can't tell which agents are offline: the heartbeats in the database can't be read."
    if not seen.offline:
        return Mark.OK, f"All {len(seen.chosen)} agents are healthy."
    asked = [each for each in probes if each.host.name not in seen.healthy]
    if asked and all(each.trouble for each in asked):
        kinds = ", ".join(f"{number} {kind}" for kind, number in Counter(each.kind for each in asked).most_common())
        return (
            Mark.STOP,
            f"None of {count(len(asked), 'host')} could be asked ({kinds}): look at the network, their keys and sshd.",
        )
    full = [each.host.name for each in asked if (each.disk or 0) >= FULL_PERCENT]
    if len(full) * 2 > len(asked):
        return Mark.STOP, f"The disks of {named(full)} are full. Make room; a restart does not cure that."
    down = [each for each in asked if each.running is False]
    if down:
        said = f" Most say: {groups[0].example}" if groups else ""
        return Mark.STOP, f"{len(down)} of {count(len(asked), 'agent')} asked are not running.{said} Plan `/dr agents restart`."
    return (
        Mark.STOP,
        "The agents asked run, but the server gets no heartbeats from them: check the network between, then restart one.",
    )


def _gate(seen: Seen) -> Iterator[Line]:
    if seen.gate.value is not None:
        level = Mark.OK if seen.gate.value.door is Door.SHUT else Mark.STOP
        yield line(level, "heartbeat address", seen.gate.value.url, seen.gate.value.says, seen.gate.value.error)


def _fleet(seen: Seen) -> Iterator[Line]:
    if seen.beats.value is None:
        return
    beats, total, healthy = seen.beats.value, len(seen.chosen), seen.healthy
    ages = [age for host in seen.chosen if (age := beats.age(host.name)) is not None]
    newest = f" The newest is {span(min(ages))} old." if ages else " There is none at all."
    never = total - len(ages)
    says = f"{len(healthy)} of {count(total, 'agent')} sent a heartbeat in the last {seen.site.fresh_seconds:g} s.{newest}"
    says += f" {never} never sent one." if never and ages else ""
    evidence = "; ".join(_parts(seen, healthy))
    yield line(Mark.OK if len(healthy) == total else Mark.STOP, "heartbeats", seen.site.heartbeat_table, says, evidence)


def _parts(seen: Seen, healthy: set[str]) -> Iterator[str]:
    """How many are healthy in each zone, and of each version."""
    for kind in ("zone", "version"):
        total = Counter(getattr(host, kind) or "?" for host in seen.chosen)
        fine = Counter(getattr(host, kind) or "?" for host in seen.chosen if host.name in healthy)
        yield f"by {kind}: " + ", ".join(f"{name} {fine[name]} of {number}" for name, number in sorted(total.items()))


def _units(probes: Sequence[Probe]) -> Iterator[Line]:
    told = [each for each in probes if each.word]
    if told:
        words = Counter(each.word for each in told)
        says = f"Of {count(len(told), 'agent')} asked, {', '.join(f'{number} {word}' for word, number in words.most_common())}."
        level = Mark.OK if all(each.running for each in told) else Mark.STOP
        yield line(level, "agents on their hosts", named([each.host.name for each in told]), says)


def _hosts_in_trouble(probes: Sequence[Probe]) -> Iterator[Line]:
    for each in probes:
        if each.trouble:
            yield line(Mark.STOP, f"host {each.kind}", each.host.name, each.trouble)


def _machines(probes: Sequence[Probe]) -> Iterator[Line]:
    full = [each for each in probes if (each.disk or 0) >= FULL_PERCENT]
    if full:
        says = f"The disk is full on {count(len(full), 'host')} of the sample."
        yield line(Mark.STOP, "disk", named([each.host.name for each in full]), says, command.DISK)
    skewed = [each for each in probes if abs(each.skew or 0) > SKEW_SECONDS]
    if skewed:
        worst = max(abs(each.skew or 0) for each in skewed)
        says = f"The clock is off on {count(len(skewed), 'host')} of the sample, by up to {span(worst)}."
        yield line(Mark.WARN, "clock", named([each.host.name for each in skewed]), says, command.CLOCK)
