"""What a rehearsal gives to its bot: a dr.toml, the environment variables, and the command line that starts it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

INCIDENT_CHANNEL = "C0INCIDENT"
SLACK_SPEED = 25.0  # how many times Slack's own rate limits a rehearsal's Slack allows; the bot keeps to the same
BOT_TOKEN = "xoxb-rehearsal"
APP_TOKEN = "xapp-rehearsal"
AGENT_TOKEN = "fleet-secret"  # what the control plane lets agents in with
HEARTBEATS = "/api/agents/heartbeat"
_NOT_PASSED_ON = ("AWS_", "SLACK_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy")

TOML = """\
# Written by the rehearsal for its own bot; replaced at every start.
[slack]
channel = "{channel}"
api_url = "{slack_api}"
posts_per_second = {posts_per_second}
report = {report}

[state]
url = "{state_url}"

[aws]
region = "us-west-2"
dr_region = "us-east-1"
speed = {speed}

[aws.endpoints]
{endpoints}

[services.control-plane]
cluster = "shielda"
service = "control-plane"
log_group = "/ecs/shielda-control-plane"
database_secret = "shielda/database-url"
health_url = "{public}/api/health"
{service_more}
[databases.primary]
instance = "shielda-prod"
alarm = "shielda-rds-cpu-high"
restore_prefix = "shielda-prod-restored"
verify_prefix = "shielda-verify"
dsn_env = "DATABASE_URL"
{database_more}

[migrations]
dir = "{migrations}"
command = "{python} -m rehearsal.migrations.stand_in"   # does what `npx drizzle-kit migrate` does, without npm

[authority]
requesters = ["U0ALICE", "U0BOB", "U0CAROL"]
approvers = ["U0ALICE", "U0BOB", "U0CAROL", "U0GINA"]   # Gina is a guest, listed by mistake; the bot refuses her
unattended = ["backup verify"]
expiry_minutes = {expiry_minutes}
"""

SERVICE_IN_TWO_REGIONS = """\
region_health_url = "{first}/api/health"
dr_health_url = "{second}/api/health"
terraform_dir = "{stack}"
terraform_workspace = "dr"
"""
DATABASE_IN_TWO_REGIONS = """\
replica = "replica"
heartbeat_table = "dr_heartbeat"
"""
REGIONS_TOML = """
[databases.replica]
instance = "{replica}"
region = "us-east-1"
dsn_env = "DR_DATABASE_URL"

[dns]
zone = "shielda.dev"
name = "{name}"
type = "CNAME"
primary = "{primary}"
dr = "{dr}"
resolvers = ["{resolver}"]
nameservers = [{servers}]
"""

AGENTS_TOML = """
[agents]
inventory = "{folder}/agents.toml"
known_hosts = "{folder}/known_hosts"
key = "{folder}/agents_key"
user = "dr"
unit = "shielda-agent"
heartbeat_url = "{public}{heartbeats}"
heartbeat_table = "heartbeats"
fresh_seconds = 5          # agents report once a second here
healthy_seconds = 1
heartbeat_seconds = 10
restart_seconds = 10
"""


def toml(
    *,
    slack_api: str,
    state_url: str,
    speed: float,
    endpoints: Mapping[str, str],
    public: str,
    expiry_minutes: float,
    migrations: Path | str = "",
    slack_speed: float = SLACK_SPEED,
    reports: bool = True,
    service_more: str = "",
    database_more: str = "",
) -> str:
    """The text of the rehearsal's dr.toml."""
    return TOML.format(
        channel=INCIDENT_CHANNEL,
        slack_api=slack_api,
        posts_per_second=slack_speed,
        report="true" if reports else "false",
        state_url=state_url,
        speed=float(speed),
        endpoints="\n".join(f'{region} = "{url}"' for region, url in endpoints.items()),
        public=public,
        expiry_minutes=expiry_minutes,
        service_more=service_more,
        database_more=database_more,
        migrations=migrations,
        python=sys.executable,
    )


def agents_toml(folder: Path, public: str) -> str:
    """The section of dr.toml about the fleet whose files are in `folder`."""
    return AGENTS_TOML.format(folder=folder, public=public, heartbeats=HEARTBEATS)


def environment(database_url: str, replica_url: str = "") -> dict[str, str]:
    """The environment variables that a rehearsal's bot needs."""
    replica = {"DR_DATABASE_URL": replica_url} if replica_url else {}
    return replica | {
        "SLACK_BOT_TOKEN": BOT_TOKEN,
        "SLACK_APP_TOKEN": APP_TOKEN,
        "SLACK_SIGNING_SECRET": "rehearsal",
        "DATABASE_URL": database_url,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def inherited() -> dict[str, str]:
    """This process's environment, without the AWS, Slack and proxy variables that lead out of the rehearsal."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_NOT_PASSED_ON)}


def bot_command(config: Path, *words: str) -> list[str]:
    """The command line of the `dr` program with this settings file: `bot_command(path, "serve")`."""
    word, *rest = words
    return [sys.executable, "-m", "bot", word, "--config", str(config), *rest]
