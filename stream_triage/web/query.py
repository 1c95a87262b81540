"""The query of an address in, a filter of runs out, and back: what is shown can be sent to somebody as a link."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from stream_triage.errors import InputError
from stream_triage.sinks.sqlite import Place, RunFilter

__all__ = ["RunQuery", "address", "number_of"]

# Parameters with one text each, and the field of the filter.
_TEXTS: Final = {
    "cause": "cause",
    "team": "team",
    "bed": "bed",
    "case": "case",
    "build": "build",
    "q": "words",
    "key": "key",
}
_FLAGS: Final = ("anomalous", "review", "open")
_AGO: Final = re.compile(r"(\d{1,4})(h|d)")
_TIME_WORDS: Final = (
    "give a day such as 2026-11-30, a day and a time (UTC) such as 2026-11-30T18:00, or an age such as 24h or 7d"
)
LONGEST: Final = 1000


class RunQuery(NamedTuple):
    """What the address of a list of runs says.

    `pairs` is the same as the parameters of the address, without those that are empty and without the place.
    """

    filter: RunFilter
    pairs: tuple[tuple[str, str], ...]
    place: Place | None

    @classmethod
    def read(cls, params: QueryParams, now: datetime) -> "RunQuery":
        """Raises `InputError` for a value that has no meaning. Unknown parameters are ignored."""
        known = ("label", *_TEXTS, *_FLAGS, "since", "until")
        pairs = tuple((name, value) for name, value in params.multi_items() if name in known and value.strip())
        values = dict(pairs)
        if any(len(value) > LONGEST for value in values.values()):
            raise InputError(f"a filter is longer than {LONGEST} characters; shorten it")
        wanted = RunFilter(
            labels=tuple(value for name, value in pairs if name == "label"),
            since=_time(values.get("since"), now, "since"),
            until=_time(values.get("until"), now, "until"),
        )
        texts = {field: values[name] for name, field in _TEXTS.items() if name in values}
        for name in _FLAGS:
            if values.get(name, "1") != "1":
                raise InputError(f"{name} must be 1, or be left out")
        flags = {name: name in values for name in _FLAGS}
        return cls(replace(wanted, **texts, **flags), pairs, _place(params.get("after")))  # type: ignore[arg-type]

    def within(self, since: str, until: str) -> str:
        """The address of those of the list that are of this time."""
        kept = [pair for pair in self.pairs if pair[0] not in {"since", "until"}]
        return address("/runs", [*kept, ("since", since), ("until", until)])

    def toggled(self, label: str) -> str:
        """The address of the same list with this label as well, or without it if it is among the wanted ones."""
        pair = ("label", label)
        pairs = [one for one in self.pairs if one != pair] if pair in self.pairs else [*self.pairs, pair]
        return address("/runs", pairs)

    def without(self, name: str, value: str) -> str:
        """The address of the same list without this filter."""
        return address("/runs", [pair for pair in self.pairs if pair != (name, value)])

    def older(self, place: Place) -> str:
        """The address of the runs behind a place."""
        return address("/runs", [*self.pairs, ("after", f"{place.time.isoformat()},{place.run}")])

    @property
    def newest(self) -> str:
        """The address of the beginning of the list."""
        return address("/runs", self.pairs)

    def values(self, name: str) -> list[str]:
        """All values of a parameter."""
        return [value for known, value in self.pairs if known == name]

    def get(self, name: str) -> str:
        """The value of a parameter; empty if there is none."""
        return dict(self.pairs).get(name, "")


def address(path: str, pairs: Iterable[tuple[str, str]] | Mapping[str, str] = ()) -> str:
    """An address on this server.

    >>> address("/run", {"id": "a/b#1"}), address("/runs")
    ('/run?id=a%2Fb%231', '/runs')
    """
    query = urlencode(list(pairs.items() if isinstance(pairs, Mapping) else pairs), errors="replace")
    return f"{path}?{query}" if query else path


def number_of(params: QueryParams, name: str, default: int, *, most: int = 10**9) -> int:
    """A whole number from 0 to `most`. Raises `InputError` for anything else."""
    value = params.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,10}", value) or int(value) > most:
        raise InputError(f"{name} must be a whole number from 0 to {most}")
    return int(value)


def _time(value: str | None, now: datetime, name: str) -> datetime | None:
    if value is None:
        return None
    if ago := _AGO.fullmatch(value.strip()):
        return now - timedelta(hours=int(ago[1]) * (24 if ago[2] == "d" else 1))
    try:
        time = datetime.fromisoformat(value.strip())
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InputError(f"{name} is no time; {_TIME_WORDS}") from None


def _place(value: str | None) -> Place | None:
    if not value:
        return None
    time, _, run = value.rpartition(",")
    try:
        place = Place(datetime.fromisoformat(time).astimezone(UTC), int(run))
    except (ValueError, OverflowError):
        place = None
    if place is None or not 0 <= place.run < 1 << 62:
        raise InputError("after is no place in the list; begin with the newest runs")
    return place
