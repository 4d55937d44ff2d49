"""The scrubber: text that comes from elsewhere, without the secrets in it. This module imports nothing of ours.

Log lines, errors of AWS and PostgreSQL, HTTP bodies and what people type go through `scrub` where they enter, so before they
are stored, and once more at the last gate: the store, the log, Slack, and what the programs print. `KINDS` says what each
kind of secret looks like. The exact values that this process was given in its environment are learned when it starts.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus, unquote

MASK = "***"
MOST = 300  # characters of an unexpected error that people are shown
SHORT = 4_000  # characters of a text that is remembered with what it becomes

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # PostgreSQL takes no NUL
_HALF = re.compile("[\ud800-\udfff]")  # UTF-8 takes no half of a character
_SECRET_VARIABLE = re.compile(r"(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|API_?KEY|ACCESS_KEY|PRIVATE_KEY)$")
_learned: list[tuple[str, re.Pattern[str]]] = []  # what is hidden, in every spelling, the longest first
_public: set[str] = set()

# Parts of the patterns below. The group `keep` is shown of a match, and the rest of it becomes the mask. Repetitions have a
# limit, so that no text takes long.
_SLASHES = r":(?://|\\/\\/)"
_USER = rf"{_SLASHES}[^\s:/@\"'<>\[\\]{{0,256}}:)(?!(?-i:PASSWORD)@)"  # our own sentences write USER:PASSWORD@HOST
_AT = r"(?=@[\w\[/.%-])"
_PORT = r"\d{1,5}(?:[/?#\s]|$)"
_HARMLESS = "".join(
    rf"(?<!{word}token)(?<!{word}[_-]token)" for word in ("next", "page", "client", "tion", "starting", "request")
)
_NAME = (
    rf"(?:pass(?:word|wd|wort|phrase|code|file)s?|pass(?<![a-z]pass)(?=\s{{0,3}}=)|pwd|pw(?<![a-z0-9]pw)|secret(?<!:secret)"
    rf"|secret(?=\s{{0,3}}=)|credentials?|token{_HARMLESS}|signing[_ -]?secret"
    r"|(?:access|account|api|app|auth|encryption|integration|master|private|routing|secret|service|shared|signing)[_ -]?"
    r"(?:access[_ -]?)?key)(?:[_-]?\d{1,2})?"
)
_IS = r"(?:\\{0,3}[\"'])?\s{0,3}(?:=>|:=|==?|:|%3D|%3A)\s{0,3}"
_OPEN = r"(?:\\{0,3}[\"'])?"
_END = r"(?=[\"'`)\]}>,.;:]*(?:\s|$))"
_SECRET_KEY = re.compile(rf"(?:^|[\W_]|[a-z]){_NAME}$", re.IGNORECASE)
_MIXED = r"(?=[a-z0-9/+]*[A-Z])(?=[A-Z0-9/+]*[a-z])(?=[A-Za-z/+]*[0-9])"


def _of(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL | re.IGNORECASE)


def _of_case(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)


# What a secret looks like, by kind. The order counts: what holds a whole secret stands before what would find a part of it.
KINDS: Mapping[str, re.Pattern[str]] = {
    "private key": _of_case(
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
    ),
    "webhook": _of(
        r"(?P<keep>hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/webhooks/)[^\s\"'<>|]+"
    ),
    # Of several @ the last one counts: a password may hold them, as well as / and :, if somebody forgot to encode it.
    "password in an address": _of(
        rf"(?<![a-z0-9])(?P<keep>(?!https?:|wss?:)[a-z][a-z0-9+.-]{{0,30}}{_USER}(?:[^\s\"'<>]{{1,2048}}|\S{{1,256}}?){_AT}"
    ),
    "password in a web address": _of(
        rf"(?<![a-z0-9])(?P<keep>(?:https?|wss?){_USER}(?!{_PORT})(?:[^\s\"'<>]{{1,2048}}|\S{{1,256}}?){_AT}"
    ),
    "password with spaces in an address": _of(
        rf"(?<![a-z0-9])(?P<keep>[a-z][a-z0-9+.-]{{0,30}}{_USER}(?!{_PORT})"
        rf"(?:[^\s@\"'<>]|@(?![\w\[/.%-])){{0,256}}[ \t][^\n\"'<>]{{0,64}}{_AT}"
    ),
    "password in an encoded address": _of(
        r"(?P<keep>(?<![a-z0-9])[a-z][a-z0-9+.-]{0,30}%(?:25)?3A%(?:25)?2F%(?:25)?2F(?:(?!%(?:25)?(?:3A|40))[^\s&]){0,256}"
        r"%(?:25)?3A)[^\s&]{1,2048}?(?=%(?:25)?40)"
    ),
    "token as the user of an address": _of(rf"(?P<keep>[a-z]{_SLASHES})[^\s:/@\"'<>\\]{{20,256}}{_AT}"),
    "password before a host": _of(
        r"(?<![\w:/@.-])(?P<keep>[\w.-]{1,64}:)[^\s@/:]{1,256}(?=@(?:[\w.-]{1,256}:\d{2,5}/|tcp\(|unix\())"
    ),
    "JSON web token": _of_case(r"(?<![A-Za-z0-9])eyJ[\w-]{8,}(?:\.[\w-]*){1,4}"),
    "token of Slack": _of(r"xox[a-z](?:\.xox[a-z])?-[\w-]+|(?<![a-z0-9])(?:xapp|xwfp)-[\w-]+"),
    "token of a well-known service": _of_case(
        r"(?<![A-Za-z0-9])(?:gh[oprsu]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|gl(?:pat|ptt|dt|rt|cbt)-[\w-]{16,}|npm_[A-Za-z0-9]{16,}"
        r"|pypi-[\w-]{16,}|dckr_pat_[\w-]{16,}|sk-[\w-]{20,}|[prsw]k_(?:live|test)_\w{10,}|whsec_\w{16,}|AIza[\w-]{30,}"
        r"|ya29\.[\w-]+|hv[brs]\.[\w-]{16,}|SG\.[\w-]{10,}\.[\w-]{10,}|hf_[A-Za-z0-9]{16,}|do[opr]_v1_[0-9a-f]{32,}"
        r"|AGE-SECRET-KEY-1\w{20,}|NRAK-[A-Z0-9]{16,}|PMAK-[\w-]{16,}|shp(?:at|ca|pa|ss)_[0-9a-f]{16,}|lin_api_\w{16,})"
    ),
    "key of AWS": _of_case(
        r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])(?:[\s:,;\"'/|]{1,5}[A-Za-z0-9/+]{40}(?![\w/+]))?"
    ),
    "signature": _of(
        rf"(?P<keep>(?:x-amz-(?:signature|credential|security-token)|awsaccesskeyid|(?<=[?&\s,])(?:signature|sig)){_IS}{_OPEN})"
        r"[^\s&\"'<>,]+"
    ),
    "authorization": _of(
        rf"(?P<keep>authorization{_OPEN}\s{{0,3}}[:=]\s{{0,3}}{_OPEN})(?!\*\*\*|\w+ \*\*\*)"
        r"[^\s\"',;\\]+(?:[ ][^\s\"',;\\]+)?(?:\s{0,3},\s{0,3}[\w-]+=(?:\"[^\"]*\"|[^\s,\"']+))*"
    ),
    "bearer": _of(r"\b(?P<keep>(?:bearer|basic)\s{1,3})(?=\S*?(?:\d|(?-i:[a-z][A-Z])|[+/=_~-]|\.\w))[\w+/=.~-]{8,}"),
    "cookie": _of(
        rf"\b(?P<keep>(?:set-)?cookie{_OPEN}\s{{0,3}}[:=]\s{{0,3}}{_OPEN})"
        r"[^\s;,\"'=\\]+=(?:\"[^\"]*\"|[^\s;,\"'\\]*)(?:;\s?[^\s;,\"'=\\]+(?:=(?:\"[^\"]*\"|[^\s;\"'\\]*))?)*"
    ),
    "value": _of(
        rf"(?P<keep>{_NAME}{_IS}(?P<quote>\\{{1,3}}[\"']|[\"'])?)"
        rf"(?(quote)(?:''|(?!(?P=quote))(?:\\.|.)){{1,4096}}|(?!(?-i:PASSWORD)\b|%['\"])[^\s\"'\\]\S*?{_END})"
    ),
    "value of an element": _of(rf"(?P<keep><(?:[\w-]{{0,40}}[:_-])?{_NAME}>)[^<]{{1,4096}}"),
    "value beside its name": _of(
        rf"(?P<keep>name\\?\"\s*:\s*\\?\"[\w.-]{{0,64}}?{_NAME}\\?\",\s*\\?\"value\\?\"\s*:\s*\\?\")[^\"\\]{{1,4096}}"
    ),
    "password in a sentence": _of(
        rf"\b(?P<keep>pass(?:word|phrase)\s{{1,3}}(?:(?:is|was)\s{{1,3}})?[\"'`]?)(?=\S*[a-z])(?=\S*\d)\S{{5,}}?{_END}"
    ),
    "password in SQL": _of(r"\b(?P<keep>(?:password|identified by)\s{1,3}E?)(?:'(?:[^']|'')*'|\"[^\"]*\")"),
    "option of a command line": _of(
        rf"(?<![\w-])(?P<keep>--?(?:[a-z]+[_-]){{0,3}}{_NAME}\s{{1,3}})(?![\s-])(?:'[^']*'|\"[^\"]*\"|\S+)"
    ),
    "user of curl": _of(r"(?<=\s)(?P<keep>(?:-u|--user)\s{1,3}[\"']?[\w.-]{1,64}:)[^\s\"']+"),
    "secret key of AWS": _of_case(
        rf"(?<![A-Za-z0-9/+_.-]){_MIXED}(?!(?:[A-Za-z0-9+]*/){{4}})[A-Za-z0-9/+]{{40}}(?![A-Za-z0-9/+=_-]|\.\w)"
    ),
    "long key": _of_case(
        rf"(?<![A-Za-z0-9/+_.-]){_MIXED}(?=[A-Za-z0-9/+]*?[A-Za-z0-9+]{{30}})[A-Za-z0-9/+]{{64,}}={{0,2}}(?![A-Za-z0-9_-])"
    ),
}

# What a text must contain for a kind to be in it, in small letters: most texts contain none of it, and are read in no time.
_ASSIGNED = ("pass", "pw", "secret", "credential", "token", "key")
HINTS: Mapping[str, tuple[str, ...]] = {
    "private key": ("private key",),
    "webhook": ("hooks.slack", "discord"),
    "password in an address": ("@",),
    "password in a web address": ("@",),
    "password with spaces in an address": ("@",),
    "password in an encoded address": ("%40", "%2540"),
    "token as the user of an address": ("@",),
    "password before a host": ("@",),
    "JSON web token": ("eyj",),
    "token of Slack": ("xox", "xapp", "xwfp"),
    "key of AWS": ("akia", "asia"),
    "signature": ("x-amz-", "awsaccesskeyid", "sig"),
    "authorization": ("authorization",),
    "bearer": ("bearer", "basic"),
    "cookie": ("cookie",),
    "value": _ASSIGNED,
    "value of an element": _ASSIGNED,
    "value beside its name": _ASSIGNED,
    "password in a sentence": ("pass",),
    "password in SQL": ("password", "identified"),
    "option of a command line": _ASSIGNED,
    "user of curl": ("-u",),
}


def scrub(text: str) -> str:
    """The text without secrets, and without what is no text (NUL, control characters, halves of characters)."""
    return _scrubbed_before(text) if len(text) <= SHORT else _scrubbed(text)


@lru_cache(maxsize=2048)
def _scrubbed_before(text: str) -> str:
    """A card is laid out again and again with mostly the same lines."""
    return _scrubbed(text)


def _scrubbed(text: str) -> str:
    text = _HALF.sub("\ufffd", _CONTROL.sub(" ", text))
    for secret, exactly in _learned:
        if secret in text:
            text = exactly.sub(MASK, text)
    low = text.casefold()
    for kind, pattern in KINDS.items():
        if any(hint in low for hint in HINTS.get(kind, ("",))):
            text = pattern.sub(_masked, text)
    return text


def scrub_all(value: Any) -> Any:
    """The same for every text in a JSON value, and nothing of what stands under a secret's name; keys stay as they are."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {k: MASK if isinstance(v, str) and _SECRET_KEY.search(k) else scrub_all(v) for k, v in value.items()}
    return [scrub_all(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def plain(error: BaseException) -> str:
    """What an error says, as one scrubbed line without a full stop; never SQLAlchemy's, which quotes statement and values."""
    error = getattr(error, "orig", None) or error
    line = scrub(" ".join(str(error).split())).rstrip(".") or type(error).__name__
    return line if len(line) <= MOST else line[: MOST - 1] + "…"


def unexpected(error: BaseException) -> str:
    """The sentence for an error that no code of ours raises on purpose."""
    kind, said = type(getattr(error, "orig", None) or error).__name__, plain(error)
    return f"Unexpected error: {kind}." if said == kind else f"Unexpected error: {kind}: {said}."


def learn(secret: str) -> None:
    """From now on this value is a secret, however it is written: raw, encoded for an address, for JSON or for HTML."""
    if _is_telling(secret) and secret not in _public:
        known = dict(_learned) | {spelling: _exactly(spelling) for spelling in _spellings(secret)}
        _learned[:] = sorted(known.items(), key=lambda item: -len(item[0]))
        _scrubbed_before.cache_clear()


def spare(names: Iterable[str]) -> None:
    """These are public, as the names in dr.toml are, also if somebody took one of them for a password."""
    _public.update(names)
    _learned[:] = [known for known in _learned if known[0] not in _public]
    _scrubbed_before.cache_clear()


def forget() -> None:
    """Nothing is learned or spared any more."""
    _learned.clear()
    _public.clear()
    _scrubbed_before.cache_clear()


def learn_dsn(dsn: str) -> None:
    """The same for a DSN and the password in it, also for one that cannot be read: then by where the password might stand."""
    learn(dsn)
    userinfo = dsn.rpartition("@")[0].partition("://")[2]
    found = [userinfo.partition(":")[2], userinfo.partition("@")[0].partition(":")[2]]
    for value in (r"'((?:[^'\\]|\\.)+)'?", r"((?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*)", r"([^\s&#]+)"):
        found += re.findall(rf"password\s*=\s*{value}", dsn, re.IGNORECASE)
    if "@" not in dsn and "." not in dsn:  # perhaps the password stands where the host should
        found += re.findall(r"://([^:/?]+)", dsn)
    public = (
        {"localhost"} | set(re.split(r"[:/@?&=\s]+", dsn.replace(userinfo, userinfo.partition(":")[0])))
        if userinfo
        else {"localhost"}
    )
    for password in found:
        if password not in public:  # as in postgresql://dr:dr@db/dr: hiding it would hide what everybody may see
            learn(password)
            learn(re.sub(r"\\(.)", r"\1", password))


def learn_environment(dsn_variables: Collection[str] = ()) -> None:
    """Learn the secrets that this process was given: tokens and passwords by their variables' names, and DSNs."""
    for name, value in os.environ.items():
        if _SECRET_VARIABLE.search(name):
            learn(value)
        if name in dsn_variables or re.match(r"[a-z][a-z0-9+.-]*://[^\s/]*:.*@", value):
            learn_dsn(value)


def _masked(found: re.Match[str]) -> str:
    return (found.groupdict().get("keep") or "") + MASK


def _is_telling(value: str) -> bool:
    """Whether the value can be told from an ordinary word or number, so that hiding it does not ruin other sentences."""
    ordinary = (value.isalpha() and value.islower()) or value.isdigit()
    return len(value) >= (12 if ordinary else 6)


def _spellings(secret: str) -> set[str]:
    plainly = {secret, secret.strip(), unquote(secret), " ".join(secret.split())}
    coded = {
        spelling
        for text in plainly
        for code in (quote(text, safe="", errors="replace"), quote(text, errors="replace"), quote_plus(text, errors="replace"))
        for spelling in (code, re.sub("%..", lambda found: found[0].lower(), code))
    }
    written = {
        spelling for text in plainly for spelling in (json.dumps(text)[1:-1], repr(text)[1:-1], html.escape(text, quote=False))
    }
    return {spelling for spelling in plainly | coded | written if len(spelling) >= 6}


def _exactly(secret: str) -> re.Pattern[str]:
    """The secret as a word of its own, if it is short enough to be a part of another one by chance."""
    pattern = re.escape(secret)
    if len(secret) >= 16:
        return re.compile(pattern)
    before = r"(?<![A-Za-z0-9])" if secret[0].isalnum() else ""
    after = r"(?![A-Za-z0-9])" if secret[-1].isalnum() else ""
    return re.compile(f"{before}{pattern}{after}")
