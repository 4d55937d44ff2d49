"""A malformed DSN is told by its variable and the kind of its mistake; nothing of it is quoted, and libpq never sees it."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import conninfo

from actions.db.connect import Connections, DatabaseUnreachable, unreadable
from actions.db.dsn import mistake
from actions.site import DatabaseRef
from tests.conftest import SetVariable

PARTS = ("GEHEIM", "Kennwort")  # of a password; none of them may be told
AT, SLASH, SPACE, PERCENT = "a raw @", "a raw /", "a space in it", "a % that is not followed by two hexadecimal digits"
PORT, HOST, OPTION = "its port is not a number", "its host is neither a name nor an address", "an option that libpq does not know"
MALFORMED = [
    ("postgresql://dr:GEHEIM@Kennwort@db/x", AT),
    ("postgresql://dr:@GEHEIM@db/x", AT),
    ("postgresql://dr@GEHEIM:Kennwort@db/x", AT),
    ("postgresql://dr:GEHEIM@Kennwort@db:5432/x?sslmode=require", AT),
    ("postgresql://dr:GEHEIM/Kennwort@db/x", SLASH),
    ("postgresql://dr:GEHEIM/@db/x", SLASH),
    ("postgresql://dr:GEHEIM Kennwort@db/x", SPACE),
    ("postgresql://dr:GEHEIM@db/x y", SPACE),
    ("postgresql://dr:GEHEIM%zzKennwort@db/x", PERCENT),
    ("postgresql://dr:GEHEIM%@db/x", PERCENT),
    ("postgresql://dr:GEHEIM%4@db/x", PERCENT),
    ("postgresql://dr:GEHEIM%00@db/x", PERCENT),
    ("postgresql://dr:GEHEIM@db:abc/x", PORT),
    ("postgresql://dr:GEHEIM@db:99999/x", PORT),
    ("postgresql://dr:GEHEIM@db:0/x", PORT),
    ("postgresql://dr:GEHEIM@db:-1/x", PORT),
    ("postgresql://dr:GEHEIM@db:5432:Kennwort/x", PORT),
    ("postgresql://dr:GEHEIM", PORT),
    ("postgresql://dr:GEHEIM/x", PORT),
    ("postgresql://dr:GEHEIM@[::1/x", PORT),
    ("postgresql://dr:GEHEIM@db\\Kennwort/x", HOST),
    ("postgresql://dr:GEHEIM@d#b/x", HOST),
    ("postgresql://dr:GEHEIM@a..b/x", HOST),
    (f"postgresql://dr:GEHEIM@{'a' * 70}/x", HOST),
    ("postgresql://dr:GEHEIM@db/x?Kennwort=1", OPTION),
    ("postgresql://dr:GEHEIM@db/x?sslmode", OPTION),
    ("postgresql:/dr:GEHEIM@db/x", "does not begin with postgresql://"),
    ("postgresql+psycopg://dr:GEHEIM@db/x", "does not begin with postgresql://"),
    ("mysql://dr:GEHEIM@db/x", "does not begin with postgresql://"),
    ("GEHEIM", "does not begin with postgresql://"),
    ("GEHEIM Kennwort", "does not begin with postgresql://"),
    ("dr:GEHEIM@db/x", "does not begin with postgresql://"),
    (" postgresql://dr:GEHEIM@db/x", "a blank or a line break around it"),
    ("postgresql://dr:GEHEIM@db/x\n", "a blank or a line break around it"),
    ("postgresql://dr:GEHEIM\nKennwort@db/x", "a line break or a control character in it"),
    ('"postgresql://dr:GEHEIM@db/x"', "quotation marks around it"),
    ("host=db user=dr password=GEHEIM Kennwort", "a word without a ="),
    ("host=db user=dr password=GEHEIM Kennwort dbname=x", "a word without a ="),
    ("host=db user=dr password='GEHEIM dbname=x", "a quotation mark that is not closed"),
    ("host=db passwort=GEHEIM", OPTION),
    ("host=db Kennwort=GEHEIM port=1", OPTION),
    ("host=db port=GEHEIM", PORT),
    ("host=d@GEHEIM password=Kennwort", HOST),
    ("hostaddr=GEHEIM password=Kennwort", "its hostaddr is not an address"),
]
WELL_FORMED = [
    "postgresql://",
    "postgres:///x",
    "postgresql://dr:GEHEIM%40%2F@db.example.:5432/x?sslmode=require&application_name=x",
    "postgresql://dr:GE#HEIM:\\x?@db/x",
    "postgresql://dr:GEHEIM@[::1]:5432/x",
    "postgresql://dr:GEHEIM@h1:1,h-2_x:2/x",
    "postgresql://%2Fvar%2Frun/x",
    "postgresql:///x?host=/var/run&user=dr@azure",
    "host=/var/run dbname=x password='GE \\' HEIM'",
    "user = dr  password=it's\\ x hostaddr=::1,10.0.0.1 port=1,2",
]


@pytest.fixture
def databases(set_variable: SetVariable) -> Connections:
    """Connections to the database whose DSN is in SHIELDA_DSN."""
    set_variable("SHIELDA_DSN", "")
    return Connections(DatabaseRef(name="primary", instance="shielda-prod", region="us-west-2", dsn_env="SHIELDA_DSN"))


@pytest.mark.parametrize(("dsn", "says"), MALFORMED, ids=range(len(MALFORMED)))
async def test_a_malformed_dsn_is_told_without_a_word_of_it(
    databases: Connections, set_variable: SetVariable, dsn: str, says: str
) -> None:
    set_variable("SHIELDA_DSN", dsn)
    with pytest.raises(DatabaseUnreachable) as raised:
        await databases.diagnose()
    said = str(raised.value)
    assert "SHIELDA_DSN" in said
    assert says in said
    assert "postgresql://USER:PASSWORD@HOST:PORT/DATABASE is expected" in said
    assert not any(part in said for part in PARTS)


@pytest.mark.parametrize("dsn", WELL_FORMED)
def test_what_libpq_takes_is_well_formed(dsn: str) -> None:
    conninfo.conninfo_to_dict(dsn)
    assert mistake(dsn) == ""


@given(
    st.sampled_from([*WELL_FORMED, *(dsn for dsn, _ in MALFORMED)]),
    st.lists(st.tuples(st.integers(0, 60), st.text(alphabet="@/:?#% \\'=,&[]\"a1\x00\n", min_size=1, max_size=2)), max_size=3),
)
def test_what_libpq_refuses_is_refused_and_nothing_is_raised(dsn: str, inserted: list[tuple[int, str]]) -> None:
    for at, text in inserted:
        dsn = dsn[:at] + text + dsn[at:]
    said = unreadable(dsn)
    assert not any(part in said for part in PARTS)
    try:
        conninfo.conninfo_to_dict(dsn)
    except (psycopg.Error, ValueError):
        assert said


@pytest.mark.parametrize(
    "options",
    [
        "sslmode=GEHEIM",
        "target_session_attrs=GEHEIM",
        "service=GEHEIM",
        "sslmode=require sslrootcert=/GEHEIM",
        "gssencmode=GEHEIM",
    ],
)
async def test_what_libpq_says_about_an_option_is_told_without_its_value(
    databases: Connections, set_variable: SetVariable, options: str
) -> None:
    set_variable("SHIELDA_DSN", f"host=127.0.0.1 port=1 password=Kennwort42 {options}")
    with pytest.raises(DatabaseUnreachable) as raised:
        await databases.connect()
    assert not any(part in str(raised.value) for part in PARTS)


async def test_a_missing_dsn_is_told_by_its_variable(databases: Connections) -> None:
    with pytest.raises(
        DatabaseUnreachable, match="Environment variable SHIELDA_DSN is not set; it must hold the DSN of shielda-prod"
    ):
        await databases.diagnose()
