"""The members of the rehearsal's Slack: people, the bot user, and their user groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TEAM = "T0SHIELDA"
TEAM_DOMAIN = "shielda"
APP = "A0DRBOT"
BOT_USER = "U0DRBOT"
BOT = "B0DRBOT"


@dataclass(frozen=True, kw_only=True)
class Person:
    """One member of the workspace, as `users.info` describes them."""

    id: str
    name: str
    real_name: str
    title: str = ""
    guest: bool = False
    deleted: bool = False
    bot: bool = False
    groups: tuple[str, ...] = ()
    external: bool = False  # of another organisation, in a shared channel

    @property
    def email(self) -> str:
        """The address of a person; a bot has none."""
        return "" if self.bot else f"{self.name}@{'supplier' if self.external else 'shielda'}.example"

    @property
    def team(self) -> str:
        """The id of the workspace that the person belongs to."""
        return "T0SUPPLIER" if self.external else TEAM

    def profile(self) -> dict[str, Any]:
        """The user object of the Web API; a deactivated member has no fields about their membership."""
        user: dict[str, Any] = {
            "id": self.id,
            "team_id": self.team,
            "name": self.name,
            "deleted": self.deleted,
            "is_bot": self.bot,
            "is_app_user": False,
            "updated": 1736899200,
            "profile": {
                "real_name": self.real_name,
                "display_name": self.name,
                "title": self.title,
                "team": TEAM,
            },
        }
        if self.external:
            user["is_stranger"] = True
        return user if self.deleted else user | self._membership()

    def _membership(self) -> dict[str, Any]:
        return {
            "real_name": self.real_name,
            "tz": "Etc/UTC",
            "tz_label": "Coordinated Universal Time",
            "tz_offset": 0,
            "is_admin": False,
            "is_owner": False,
            "is_primary_owner": False,
            "is_restricted": self.guest,
            "is_ultra_restricted": False,
        }


GROUPS = {"S0ONCALL": "oncall", "S0APPROVE": "dr-approvers"}
BOT_PERSON = Person(id=BOT_USER, name="dr", real_name="DR bot", bot=True)
PEOPLE = (
    Person(id="U0ALICE", name="alice", real_name="Alice Ng", title="on-call", groups=("S0ONCALL", "S0APPROVE")),
    Person(id="U0BOB", name="bob", real_name="Bob Okafor", title="on-call", groups=("S0ONCALL", "S0APPROVE")),
    Person(id="U0CAROL", name="carol", real_name="Carol Lindqvist", title="database lead", groups=("S0APPROVE",)),
    Person(id="U0DAVE", name="dave", real_name="Dave Moreau", title="engineer, not on the list"),
    Person(id="U0GINA", name="gina", real_name="Gina Petrov", title="guest of a supplier", guest=True),
)
