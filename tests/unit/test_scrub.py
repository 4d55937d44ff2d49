"""Every kind of secret is hidden wherever it stands, and what is not one survives: commands, ARNs, digests, our own sentences."""

from __future__ import annotations

import ast
import json
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.aws.gateway import REHEARSAL_KEYS
from actions.scrub import HINTS, KINDS, learn, learn_dsn, learn_environment, plain, scrub, scrub_all, spare, unexpected
from tests.conftest import SetVariable

ROOT = Path(__file__).parents[2]
DRILL_TEXTS = (Path(__file__).parent / "drill_texts.txt").read_text().splitlines()
PEM = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
AWS = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
words = st.text(alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789-_", min_size=6, max_size=40)
around = st.text(alphabet=" ,;:()[]{}'\"\n\t", max_size=20)

# Kind, a text that holds such a secret as GEHEIM (or as the third part), and what it becomes.
ROWS = [
    ("private key", f"-----BEGIN RSA PRIVATE KEY----- {PEM} -----END RSA PRIVATE KEY----- end", "*** end"),
    ("private key", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\ncut off", "***"),
    ("webhook", "https://hooks.slack.com/services/T0/B0/GEHEIM.", "https://hooks.slack.com/services/***"),
    ("password in an address", "at postgresql://dr:GEHEIM@db.example:5432/x", "at postgresql://dr:***@db.example:5432/x"),
    ("password in an address", "postgresql://dr:GE@HE/IM:x@db/x?sslmode=require", "postgresql://dr:***@db/x?sslmode=require"),
    ("password in an address", "redis://:GEHEIM@cache:6379/0", "redis://:***@cache:6379/0"),
    ("password in an address", 'mongodb+srv://u:GE"HEIM@h/', "mongodb+srv://u:***@h/"),
    ("password in an address", '{"url":"amqp:\\/\\/u:GEHEIM@h"}', '{"url":"amqp:\\/\\/u:***@h"}'),
    ("password in a web address", "GET https://me:GEHEIM@app.example/x", "GET https://me:***@app.example/x"),
    ("password with spaces in an address", "postgresql://dr:GE HEIM x@db/x is down", "postgresql://dr:***@db/x is down"),
    ("password with spaces in an address", "postgresql://dr:GE@ HEIM@db/x", "postgresql://dr:***@db/x"),
    ("password in an encoded address", "postgresql%3A%2F%2Fdr%3AGEHEIM%40db%2Fx", "postgresql%3A%2F%2Fdr%3A***%40db%2Fx"),
    ("token as the user of an address", "https://GEHEIMGEHEIMGEHEIM0123@github.example/x", "https://***@github.example/x"),
    ("password before a host", "dsn dr:GEHEIM@tcp(db:3306)/x", "dsn dr:***@tcp(db:3306)/x"),
    ("password before a host", "as dr:GEHEIM@db.example:5432/x", "as dr:***@db.example:5432/x"),
    ("JSON web token", "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.GEHEIM-x", "jwt ***"),
    ("token of Slack", "xoxb-1-2-GEHEIM xapp-1-A0-GEHEIM, xwfp-GEHEIM; xoxe.xoxp-1-GEHEIM", "*** ***, ***; ***"),
    ("token of a well-known service", "ghp_0123456789abcdefGEHEIM npm_0123456789abcdefGEHEIM", "*** ***"),
    ("token of a well-known service", "glpat-0123456789-GEHEIM sk_live_0123456789GEHEIM", "*** ***"),
    ("key of AWS", f"AKIAIOSFODNN7EXAMPLE:{AWS} ASIAIOSFODNN7EXAMPLE", "*** ***"),
    ("signature", "?X-Amz-Signature=GEHEIM&X-Amz-Date=20250115", "?X-Amz-Signature=***&X-Amz-Date=20250115"),
    ("signature", "X-Amz-Security-Token: GEHEIM", "X-Amz-Security-Token: ***"),
    ("authorization", "Authorization: Basic GEHEIM== and", "Authorization: *** and"),
    ("authorization", "{'authorization': 'AWS4-HMAC-SHA256 Credential=A/b, Signature=GEHEIM'}", "{'authorization': '***'}"),
    ("authorization", "Authorization: Strange GEHEIM, then", "Authorization: ***, then"),
    ("bearer", "sent Bearer GEHEIM-0123", "sent Bearer ***"),
    ("cookie", "Set-Cookie: sid=GEHEIM; Path=/; HttpOnly", "Set-Cookie: ***"),
    ("cookie", '{"cookie":"sid=GEHEIM; x=y","n":1}', '{"cookie":"***","n":1}'),
    ("value", "host=db user=dr password=GEHEIM dbname=x", "host=db user=dr password=*** dbname=x"),
    ("value", "password = 'GE HE\\'IM' host=db sslpassword=GEHEIM", "password = '***' host=db sslpassword=***"),
    ("value", "passfile=/home/GEHEIM/.pgpass PGPASSWORD=GEHEIM", "passfile=*** PGPASSWORD=***"),
    ("value", '{"password": "GE\\"HEIM", "apiKey":"GEHEIM","n":1}', '{"password": "***", "apiKey":"***","n":1}'),
    ("value", '{\\"dbPassword\\":\\"GEHEIM\\",\\"n\\":1}', '{\\"dbPassword\\":\\"***\\",\\"n\\":1}'),
    ("value", "{'client_secret': 'GEHEIM', 'x': 1}", "{'client_secret': '***', 'x': 1}"),
    ("value", "token=GEHEIM; api_key: GEHEIM, :secret => GEHEIM)", "token=***; api_key: ***, :secret => ***)"),
    ("value", f"aws_secret_access_key = {AWS}", "aws_secret_access_key = ***"),
    ("value of an element", "<db:password>GEHEIM</db:password>", "<db:password>***</db:password>"),
    ("value beside its name", '{"name":"DB_PASSWORD","value":"GEHEIM"}', '{"name":"DB_PASSWORD","value":"***"}'),
    ("password in a sentence", "the password is GEHEIM42, said bob", "the password is ***, said bob"),
    ("password in SQL", "ALTER ROLE dr PASSWORD 'GE''HEIM' VALID", "ALTER ROLE dr PASSWORD *** VALID"),
    ("option of a command line", "x --db-password GEHEIM --api-key 'GE HEIM' -v", "x --db-password *** --api-key *** -v"),
    ("user of curl", "curl -u dr:GEHEIM http://h", "curl -u dr:*** http://h"),
    ("secret key of AWS", f"what is {AWS}?", "what is ***?"),
    ("long key", f"{PEM}\n", "***\n"),
]
SURVIVE = [
    "arn:aws:secretsmanager:us-west-2:123456789012:secret:shielda/database-url-AbCdEf",
    "arn:aws:sts::123456789012:assumed-role/drbot/alice@example.com",
    "arn:aws:ecs:us-west-2:123456789012:service-deployment/shielda/control-plane/Bs2QlZ7yV4dcmpDfSHRVN",
    "123456789012.dkr.ecr.us-west-2.amazonaws.com/shielda/control-plane@sha256:" + "0123456789abcdef" * 4,
    "shielda/control-plane:2026.11.18@sha256:" + "0123456789abcdef" * 4,
    "sha512-" + PEM + "AbCdEf0123456789abcdQ==",
    "ecs-svc/1234567890123456789 of control-plane:41; plan il72cfmu, nonce t7yP-_x9QmZk3vA1, digest " + "0a" * 32,
    "(service control-plane) has stopped 1 running tasks: (task 16de16617b794d45ba8d248cfcac67cf).",
    'FATAL: password authentication failed for user "dr"; no password supplied; the token is wrong; a secret of ours',
    "http://127.0.0.1:8044/api/health?x=a@b answers 502 after 0.1 s.",
    "postgresql://db:5432/x is down; ask ops@example.com",
    "aws rds x --client-request-token dr-2025-01-15 --next-token abc; nextToken=abc&NextToken: abc",
    "postgresql://USER:PASSWORD@HOST:PORT/DATABASE is expected",
    "Basic information; Bearer authentication; the authorization failed; a cookie",
    "SLACK_BOT_TOKEN is not set; SLACK_APP_TOKEN does not begin with xapp-; use https://host:5432/@user",
    "AccessDenied: User arn:aws:iam::123456789012:user/dr is not authorized to perform ecs:UpdateService",
    "shielda-ControlPlaneService-AbCdEf123456789012345678901234567890",
    'psql "$DATABASE_URL" -c "SELECT 1 WHERE application_name LIKE \'app password=%\' AND x"',
]


@pytest.mark.parametrize(("kind", "text", "shown"), ROWS, ids=[f"{kind} {number}" for number, (kind, *_) in enumerate(ROWS)])
def test_a_secret_of_each_kind_is_hidden_by_its_own_pattern(kind: str, text: str, shown: str) -> None:
    assert scrub(text) == shown
    assert scrub(shown) == shown
    assert KINDS[kind].search(text)


def test_every_kind_has_a_row() -> None:
    assert {kind for kind, *_ in ROWS} == KINDS.keys() >= HINTS.keys()


@pytest.mark.parametrize("text", [*SURVIVE, *DRILL_TEXTS])
def test_what_is_no_secret_survives(text: str) -> None:
    assert scrub(text) == text


def test_every_sentence_in_our_own_code_survives() -> None:
    ours = [
        path for folder in ("actions", "bot", "commands") for path in (ROOT / folder).rglob("*.py") if path.name != "scrub.py"
    ]
    constants = [node.value for path in ours for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    said = [value for value in constants if isinstance(value, str)]
    assert len(said) > 1000
    assert [text for text in said if scrub(text) != text and "\x00" not in text] == [*REHEARSAL_KEYS.values()]


@given(around, words, around)
def test_no_token_of_slack_is_shown_whatever_stands_around_it(before: str, secret: str, after: str) -> None:
    for kind in ("xoxb-", "xoxp-", "xapp-"):
        assert secret not in scrub(f"{before}{kind}{secret}{after}")


@given(words, words)
def test_no_password_of_an_address_is_shown(user: str, password: str) -> None:
    assert scrub(f"at postgresql://{user}:{password}@db.example:5432/x") == f"at postgresql://{user}:***@db.example:5432/x"


@given(
    st.text(alphabet="ab/@:%?#x", max_size=20) | st.text(alphabet="ab/:%?#x ", max_size=20), st.text(alphabet="ab1", max_size=5)
)
def test_no_raw_character_in_a_password_lets_its_beginning_through(middle: str, user: str) -> None:
    hidden = scrub(f"postgresql://{user}:GEHEIM{middle}GEHEIM@db.example/x")
    assert "GEHEIM" not in hidden


@given(st.text(alphabet="abc xyz.,/-_@", max_size=60))
def test_a_text_without_a_secret_is_shown_as_it_is(text: str) -> None:
    assert scrub(text) == text


@given(st.text() | st.sampled_from([text for _, text, _ in ROWS]))
def test_a_scrubbed_text_is_text_and_stays_as_it_is(text: str) -> None:
    once = scrub(text)
    assert scrub(once) == once
    once.encode()
    assert "\x00" not in once


def test_what_is_no_text_becomes_a_blank_or_a_sign() -> None:
    assert scrub("a\x00b\ud800c\x1b[0m\td\n") == "a b\ufffdc [0m\td\n"


@pytest.mark.parametrize(
    "piece", ["a", "a.", "a://b:", "password=", "x@y:", "'", '\\"', "Aa0", "authorization: ", " ", 'token: "']
)
def test_no_text_takes_long(piece: str) -> None:
    began = time.process_time()
    scrub(piece * (60_000 // len(piece)) + " ".join(hint for hints in HINTS.values() for hint in hints))  # so that all are tried
    assert time.process_time() - began < 2


# What was learned -----------------------------------------------------------------------------------------------------


def test_a_secret_is_hidden_from_when_it_is_learned_also_in_a_text_seen_before() -> None:
    text = "The host said: quiet-Harbour7."
    assert scrub(text) == text
    learn("quiet-Harbour7")
    assert scrub(text) == "The host said: ***."
    spare(["quiet-Harbour7"])
    assert scrub(text) == text


@pytest.mark.parametrize("secret", ["s3cret", "p@ss/w rd+%41&<x>", "zuGEHEIM", "correcthorsebatterystaple", "a\"b\\c'dé"])
def test_a_learned_secret_is_hidden_however_it_is_written(secret: str) -> None:
    learn(secret)
    written = [secret, quote(secret), quote(secret, safe="").lower(), json.dumps(secret), repr(secret), f"x {secret}, y"]
    for text in written[:2] + written[3:]:
        assert secret not in scrub(text)
        assert "***" in scrub(text)


def test_a_password_that_is_an_ordinary_word_ruins_no_sentence() -> None:
    for secret in ("failover", "postgres", "123456", "a1b2"):
        learn(secret)
    assert scrub("failover of postgres 123456 a1b2 started") == "failover of postgres 123456 a1b2 started"


def test_a_short_secret_is_hidden_only_as_a_word_of_its_own() -> None:
    learn("prod-1")
    assert scrub("prod-1 is not prod-12 nor xprod-1") == "*** is not prod-12 nor xprod-1"


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://dr:GEH@EIM1@db/x",
        "postgresql://dr:GEH%40EIM1@db/x",
        "postgresql://dr:GEH EIM1@db/x",
        "host=db password='GEH@EIM1' user=dr",
        "host=db password=GEH@EIM1 user=dr",
        "postgresql://db/x?user=dr&password=GEH%40EIM1",
        "postgresql://GEHEIM1",
    ],
)
def test_the_password_of_a_dsn_is_learned_also_of_a_malformed_one(dsn: str) -> None:
    learn_dsn(dsn)
    for password in ("GEH@EIM1", "GEH%40EIM1", "GEH EIM1", "GEHEIM1"):
        if password in dsn:
            assert scrub(f"it is {password}.") == "it is ***."
    assert dsn not in scrub(f"read {dsn}")


def test_a_password_that_is_the_users_name_does_not_hide_the_name() -> None:
    learn_dsn("postgresql://dr-bot-1:dr-bot-1@db/x")
    assert scrub("role dr-bot-1 is missing") == "role dr-bot-1 is missing"


def test_the_secrets_of_the_environment_are_learned(set_variable: SetVariable) -> None:
    set_variable("AWS_SECRET_ACCESS_KEY", "GeheimeSchluessel")
    set_variable("SHIELDA_DSN", "host=db password=Geheim42")
    set_variable("QUEUE", "amqp://me:Geheim43@queue/")
    set_variable("HTTP_PROXY", "http://proxy:3128/x")
    learn_environment(["SHIELDA_DSN"])
    said = scrub("signed with GeheimeSchluessel as Geheim42 by Geheim43 through http://proxy:3128/x.")
    assert said == "signed with *** as *** by *** through http://proxy:3128/x."


def test_a_name_from_the_settings_is_no_secret_even_if_it_is_a_password_too() -> None:
    learn("shielda-prod")
    spare(["shielda-prod"])
    learn("shielda-prod")
    assert scrub("reboot shielda-prod") == "reboot shielda-prod"


# Values and errors ----------------------------------------------------------------------------------------------------


def test_texts_inside_values_are_scrubbed_and_what_a_secrets_name_holds_is_hidden() -> None:
    value = {"says": ["token=GEHEIM"], "db_password": "GEHEIM", "n": 1, "none": None, "next_token": "abc", "key": "k"}
    hidden = {"says": ["token=***"], "db_password": "***", "n": 1, "none": None, "next_token": "abc", "key": "k"}
    assert scrub_all(value) == hidden


def test_an_error_is_one_scrubbed_line_and_never_the_statement() -> None:
    class Wrapped(Exception):
        orig = ValueError("bad value\n for password=GEHEIM.")

    assert plain(Wrapped("INSERT INTO dr_inbox VALUES ('GEHEIM')")) == "bad value for password=***"
    assert unexpected(Wrapped("INSERT")) == "Unexpected error: ValueError: bad value for password=***."
    assert unexpected(TimeoutError()) == "Unexpected error: TimeoutError."
    assert len(unexpected(ValueError("x" * 5000))) < 400
