"""What becomes of a panel's SQL before PostgreSQL sees it: Grafana's page fills in the variables, its server the macros
of the data source. As Grafana 12 does it, quirks included: a macro ends at the first closing parenthesis, and one
that nobody knows is an error."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(?!__)(\w+))")
_MACRO = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Raw:
    """A variable's value that goes in as it is: the custom value for All."""

    text: str


@dataclass(frozen=True)
class View:
    """What a dashboard shows: a range of time, the width of a point in it, and the values of its variables. A list is
    what a variable with several values holds."""

    begin: datetime
    end: datetime
    variables: Mapping[str, str | Raw | Sequence[str]]
    interval: str = "1m"

    def expanded(self, sql: str) -> str:
        """The SQL that is run. Raises ValueError: a macro that does not exist, or without its arguments."""
        sql = _VARIABLE.sub(self._variable, sql)
        sql = sql.replace("$__interval_ms", str(_seconds(self.interval) * 1000)).replace("$__interval", self.interval)
        return _MACRO.sub(lambda match: self._macro(match, sql), sql)

    def _variable(self, match: re.Match[str]) -> str:
        value = self.variables[match[1] or match[2]]
        if isinstance(value, Raw):
            return value.text
        if isinstance(value, str):
            return value.replace("'", "''")
        return ",".join("'" + one.replace("'", "''") + "'" for one in value)

    def _macro(self, match: re.Match[str], sql: str) -> str:
        arguments = [argument.strip() for argument in match[2].split(",")]
        first = arguments[0]
        match match[1]:
            case "__timeFrom":
                return f"'{_time(self.begin)}'"
            case "__timeTo":
                return f"'{_time(self.end)}'"
            case "__timeFilter" if first:
                return f"{first} BETWEEN '{_time(self.begin)}' AND '{_time(self.end)}'"
            case "__timeGroup" if len(arguments) > 1:
                seconds = _seconds(arguments[1].strip("'"))
                named = ' AS "time"' if sql[match.end() : match.end() + 1] == "," else ""
                return f"floor(extract(epoch from {first})/{seconds})*{seconds}{named}"
        raise ValueError(f"Grafana does not know the macro {match[0]}.")


def _seconds(interval: str) -> int:
    return int(interval[:-1]) * _UNITS[interval[-1]]


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
