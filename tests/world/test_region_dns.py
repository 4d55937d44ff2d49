"""DNS clients against real servers over UDP and TCP: a server that is behind is named, and so is a resolver that remembers."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator

import pytest

from actions.dns.checks import AuthoritativeAgree, ResolversAgree
from actions.dns.client import ask, nameservers
from actions.errors import Unreachable
from actions.site import Aws, DatabaseSection, Dns, ServiceSection, Site
from actions.values import Result
from actions.world import World
from rehearsal.names.servers import Resolver
from rehearsal.names.zone import RecordSet
from tests.world.aws_world import LocalAws

NAME, IN_WEST, IN_EAST = "app.shielda.dev", "shielda-us-west-2.elb.amazonaws.com", "shielda-us-east-1.elb.amazonaws.com"
VALUE = {"name": NAME, "type": "CNAME", "value": IN_EAST}


class Names:
    """Two authoritative servers and a resolver, and the product's world that knows them."""

    def __init__(self, aws: LocalAws, resolver: Resolver) -> None:
        assert aws.route53
        self.route53, self.resolver = aws.route53, resolver
        self.servers = tuple(server.port.address for server in aws.route53.servers)
        service = ServiceSection(cluster="c", service="s", log_group="/s", health_url="http://127.0.0.1:1/")
        dns = Dns(
            zone="shielda.dev", name=NAME, primary=IN_WEST, dr=IN_EAST, nameservers=self.servers,
            resolvers=(resolver.port.address,),
        )  # fmt: skip
        databases = {"primary": DatabaseSection(instance="prod")}
        self.world = World(Site(aws=Aws(region="us-west-2"), services={"s": service}, databases=databases, dns=dns))

    def put(self, value: str) -> None:
        """All servers answer this value from now on."""
        self.route53.put(RecordSet(name=f"{NAME}.", type="CNAME", ttl=60, values=(value,)))


@pytest.fixture
async def names() -> AsyncIterator[Names]:
    async with LocalAws(two_regions=True, speed=20) as aws:
        assert aws.route53
        resolver = Resolver(aws.route53.zone.name, aws.route53.servers, {f"{IN_EAST}.": "127.0.0.1"}, ttl=3)
        await resolver.port.open()
        names = Names(aws, resolver)
        names.put(IN_WEST)
        yield names
        await names.world.close()
        await resolver.port.close()


async def test_every_authoritative_server_is_asked_and_speaks_for_the_zone(names: Names) -> None:
    for server in names.servers:
        reply = await ask(server, NAME, "CNAME", recursive=False)
        assert (reply.values, reply.authoritative) == ((IN_WEST,), True)
    names.put(IN_EAST)
    outcome = await AuthoritativeAgree(**VALUE).look(names.world)
    assert outcome.result is Result.DONE
    assert outcome.says.startswith(f"All 2 name servers answer {IN_EAST} for {NAME}")


async def test_no_success_is_said_while_one_server_is_stale(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    names.route53.keep_stale()
    names.put(IN_WEST)
    names.route53.servers[0].zone = names.route53.zone.change(
        [RecordSet(name=f"{NAME}.", type="CNAME", ttl=60, values=(IN_EAST,))],
        [one.key for one in names.route53.zone.records if one.name == f"{NAME}."],
    )
    monkeypatch.setattr(AuthoritativeAgree, "timeout", 1.0)
    monkeypatch.setattr("actions.dns.checks.LEAST", 1.0)
    outcome = await AuthoritativeAgree(**VALUE).look(names.world)
    assert outcome.result is Result.FAILED
    assert f"DNS server {names.servers[1]} still answers {IN_WEST}. Wait, then retry." in outcome.says


async def test_a_resolver_that_remembers_is_named_and_waited_for(names: Names) -> None:
    (resolver,) = (names.resolver.port.address,)
    first = await ask(resolver, NAME, "CNAME", recursive=True)
    assert (first.values, first.authoritative) == ((IN_WEST,), False)
    names.put(IN_EAST)
    said: list[str] = []
    outcome = await ResolversAgree(**VALUE).look(names.world.followed(said.append))
    assert outcome.result is Result.DONE, outcome.says
    assert said[0].startswith(f"Resolver {resolver} still has {IN_WEST}, for ")


async def test_a_server_that_is_gone_is_named(names: Names) -> None:
    with pytest.raises(Unreachable, match=r"DNS server 127\.0\.0\.1:1 does not answer"):
        await ask("127.0.0.1:1", NAME, "CNAME", recursive=False)
    assert names.world.site.dns
    assert await nameservers(names.world.site.dns) == names.servers


@pytest.mark.skipif(shutil.which("dig") is None, reason="there is no dig on the PATH")
async def test_dig_is_told_the_same(names: Names) -> None:
    host, _, port = names.servers[0].partition(":")
    for how in ("+notcp", "+tcp"):
        argv = ["dig", "+short", "+norecurse", how, f"@{host}", "-p", port, NAME, "CNAME"]
        dig = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
        out, _ = await dig.communicate()
        assert out.decode().strip() == f"{IN_WEST}."
