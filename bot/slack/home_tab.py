"""Publishes the app's home for whoever opens it. It shows the latest that is on record; opening it queries nothing."""

from __future__ import annotations

from typing import Any

import structlog

from actions.scrub import plain
from bot.settings import Settings
from bot.slack.home import Seen, home_view
from bot.state.notes import CHECK, TARGETS, told
from bot.state.store import Store

log = structlog.get_logger(__name__)


async def publish(slack: Any, store: Store, settings: Settings, person: str) -> None:
    """Publish the home for a person. Slack's refusal is logged; the home is published at the next opening then."""
    latest = await store.do(told)
    seen = Seen(stories=await store.stories(), check=latest.get(CHECK), targets=latest.get(TARGETS), cron=settings.backups.verify)
    try:
        await slack.views_publish(user_id=person, view=home_view(seen))
    except Exception as error:
        log.warning("home_not_published", person=person, error=plain(error))
