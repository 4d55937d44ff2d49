"""Whether Slack takes the tokens: asked before a bot stands by, because at night it is too late."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from actions.scrub import plain
from bot.settings import BadSettings, Settings
from bot.slack.errors import LOST

log = structlog.get_logger(__name__)
PAUSE_SECONDS = 2.0
REFUSED = ("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "not_allowed_token_type")


async def check_tokens(client: AsyncWebClient, settings: Settings) -> None:
    """Ask until Slack has answered for both. Raises `BadSettings` when one is missing, malformed or refused.

    In HTTP mode there's no app token; nobody can ask Slack whether a signing secret is right.
    """
    if settings.slack.mode == "http":
        _ = settings.signing_secret
        await _ask_until_answered("SLACK_BOT_TOKEN", client.auth_test)
        return
    app_token = settings.app_token.get_secret_value()
    await _ask_until_answered("SLACK_BOT_TOKEN", client.auth_test)
    await _ask_until_answered("SLACK_APP_TOKEN", lambda: client.apps_connections_open(app_token=app_token))


async def _ask_until_answered(name: str, ask: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await ask()
        except SlackApiError as error:
            data = error.response.data if isinstance(error.response.data, dict) else {}
            if data.get("error") in REFUSED:
                raise BadSettings(f"environment: Slack refuses {name} ({data['error']}); give it a valid one.") from error
            log.warning("slack_unreachable", error=plain(error))
        except LOST as error:
            log.warning("slack_unreachable", error=plain(error))
        else:
            return
        await asyncio.sleep(PAUSE_SECONDS)
