"""The psql line that a person would type."""

from __future__ import annotations

import re

READ_BY_THE_SHELL = re.compile(r'([$`"\\])')  # inside double quotes


def psql(sql: str, dsn_env: str) -> str:
    """The statement as an argument of psql, quoted for the shell; `dsn_env` is the variable that holds the DSN."""
    return f'psql "${dsn_env}" {command(sql)}'


def command(sql: str) -> str:
    """The statement as psql's option -c, quoted for the shell."""
    quoted = READ_BY_THE_SHELL.sub(r"\\\1", sql)
    return f'-c "{quoted}"'
