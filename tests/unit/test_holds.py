"""The evidence of a Hold stands in the thread whole, whatever it says."""

from __future__ import annotations

import html

from hypothesis import given
from hypothesis import strategies as st

from actions.values import Finding, Level, ok, stop
from bot.engine.holds import replies
from bot.slack import cards
from bot.state.story import WHOLE

word = st.sampled_from(["a", "`", "``", "&", "<b>", "row ", "*", "_", "\n", "é"])
long = st.text(max_size=40) | st.builds(lambda text, times: text * times, word, st.integers(1, 4000))
findings = st.builds(Finding, level=st.sampled_from(Level), says=long, evidence=long)


@given(st.lists(findings, max_size=4))
def test_no_reply_with_evidence_is_cut(evidence: list[Finding]) -> None:
    for text in replies("2.1", evidence):
        sent = cards.reply(WHOLE, text)
        assert 0 < len(sent) <= 3000
        assert not sent.endswith("(cut short)")


def test_short_evidence_is_one_message() -> None:
    (text,) = replies("2.1", [stop("3 rows are missing.", "agents: 1,204 of 1,207"), ok("The newest commit is there.")])
    assert html.unescape(cards.reply(WHOLE, text)).splitlines() == [
        "*Evidence for step 2.1*",
        ":octagonal_sign: 3 rows are missing.",
        "      `agents: 1,204 of 1,207`",
        ":white_check_mark: The newest commit is there.",
    ]
