"""The generated reference is the code's."""

from pathlib import Path

from commands.report import REPORTS
from commands.scenario import SCENARIOS
from tests.reference import reference

ROOT = Path(__file__).parent.parent.parent


def test_the_reference_in_docs_is_what_the_code_says() -> None:
    assert (ROOT / "docs/reference.md").read_text() == reference(), "run: python -m tests.reference > docs/reference.md"


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in (*SCENARIOS, *REPORTS) if f"/dr {name}" not in readme] == []
