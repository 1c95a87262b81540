"""Lines that lie in an OpenSearch index in, a document each; out come their runs, one after the other.

A run is chosen by one line within the time asked for, and read whole. Its lines come in the order of their time; those of
the same moment in the order of the sequence fields that the index has, then in that of indexing.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from stream_triage.clock import Clock, SystemClock, retry_waits
from stream_triage.errors import SettingsError, StoreError
from stream_triage.json_fields import LABELS, as_text, look_up
from stream_triage.opensearch import BadAnswer, SearchServer
from stream_triage.ports import Handle
from stream_triage.records import Chunk, Problem, RunEnd
from stream_triage.settings import OpenSearchSettings

__all__ = ["SCHEME", "OpenSearchSource"]

SCHEME = "opensearch://"
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.2, 10.0
RUNS_A_PAGE = 500
LINES_A_PAGE = 2_000
MAX_RUN_ID_BYTES = 1024
# The server keeps what it showed at the start for so long after each request; judging a page takes seconds.
KEEP_ALIVE = "10m"
# Numbers that shippers give to the lines of a file, for lines of the same moment.
SEQUENCE_FIELDS = ("log.offset", "event.sequence", "seq")
NUMBERS = ("long", "integer", "unsigned_long")


class _Fields(NamedTuple):
    """Names to search and sort by, as the index has them."""

    run: str
    time: str
    sequence: tuple[str, ...]


class _Run(NamedTuple):
    run_id: str
    key: Any
    """Value of the run field, as the server gave it."""


class OpenSearchSource:
    """The runs of an index, an alias or a pattern. `time` is a date, `now-1d` or `2026-11-01..2026-11-02`.

    Raises `SettingsError` where index, fields or time are wrong, `StoreError` when the server fails for longer than
    `retry_seconds`.
    """

    def __init__(
        self, settings: OpenSearchSettings, index: str, *, run_field: str, time: str, clock: Clock | None = None
    ) -> None:
        self._settings = settings
        self._name = f"{SCHEME}{index}"
        self._index = quote(index, safe="*,-")
        self._run_field = run_field
        self._since, _, self._until = time.partition("..")
        self._clock = clock or SystemClock()
        self._server = SearchServer(settings)

    def run(self, handle: Handle) -> None:
        with self._server:
            fields = self._fields()
            window = self._window(fields)
            view = self._ask("POST", f"{self._index}/_search/point_in_time?keep_alive={KEEP_ALIVE}")["pit_id"]
            try:
                self._tell_strays(view, fields, window, handle)
                for run in self._runs(view, fields, window):
                    self._read(view, fields, run, handle)
            finally:
                self._server.ask("DELETE", "_search/point_in_time", {"pit_id": [view]})

    def _fields(self) -> _Fields:
        time = self._settings.time_field
        names = [self._run_field, f"{self._run_field}.keyword", time, *SEQUENCE_FIELDS]
        path = f"{self._index}/_field_caps?fields={','.join(quote(name, safe='.@') for name in names)}"
        told = self._ask("GET", path)
        if not told.get("indices"):
            raise SettingsError(f"OpenSearch has no index {self._name.removeprefix(SCHEME)}, or this user may not see it")
        known: Mapping[str, Mapping[str, Any]] = told["fields"]
        run = next((name for name in names[:2] if _can_be_searched(known.get(name))), None)
        if run is None:
            reason = "is text that cannot be grouped by, and has no sub-field keyword" if names[0] in known else "is none"
            raise SettingsError(
                f"--run-field {self._run_field} {reason} in {self._name}; fields that could be: {self._candidates()}"
            )
        if not set(known.get(time, ())) & {"date", "date_nanos"}:
            raise SettingsError(f"{time} is no date in {self._name}; opensearch.time_field names the one to go by")
        return _Fields(run, time, tuple(name for name in SEQUENCE_FIELDS if set(known.get(name, ())) & set(NUMBERS)))

    def _candidates(self) -> str:
        told = self._ask("GET", f"{self._index}/_field_caps?fields=*")["fields"]
        names = [name for name, kinds in told.items() if not name.startswith("_") and "keyword" in kinds]
        return ", ".join(sorted(names)[:10]) or "none"

    def _window(self, fields: _Fields) -> Mapping[str, Any]:
        """The time asked for, as a filter: `now` is one moment for all requests."""
        between = {"from": self._since or None, "to": self._until or None}
        given = {name: value for name, value in between.items() if value}
        ranges = {"date_range": {"field": fields.time, "format": _FORMATS, "ranges": [given]}}
        try:
            told = self._ask("POST", f"{self._index}/_search?size=0", {"aggs": {"time": ranges}}) if given else None
        except BadAnswer as error:
            if error.status != 400:
                raise
            raise SettingsError(f"--time cannot be understood; write {_TIMES}") from None
        if told is None:
            raise SettingsError(f"--time is empty; write {_TIMES}")
        (bucket,) = told["aggregations"]["time"]["buckets"]
        edges = {"gte": bucket.get("from"), "lt": bucket.get("to")}
        limits = {name: int(value) for name, value in edges.items() if value is not None}
        return {"range": {fields.time: {**limits, "format": "epoch_millis"}}}

    def _tell_strays(self, view: str, fields: _Fields, window: Mapping[str, Any], handle: Handle) -> None:
        without = {"bool": {"filter": [window], "must_not": [{"exists": {"field": fields.run}}]}}
        told = self._search(view, {"size": 0, "track_total_hits": True, "query": without})
        if count := told["hits"]["total"]["value"]:
            handle(
                Problem(self._name, f"{count} lines of this time have no {self._run_field}, no run is theirs", error=False)
            )

    def _runs(self, view: str, fields: _Fields, window: Mapping[str, Any]) -> Iterator[_Run]:
        grouping: dict[str, Any] = {"size": RUNS_A_PAGE, "sources": [{"run": {"terms": {"field": fields.run}}}]}
        body = {"size": 0, "query": {"bool": {"filter": [window]}}, "aggs": {"runs": {"composite": grouping}}}
        while buckets := (told := self._search(view, body)["aggregations"]["runs"])["buckets"]:
            for bucket in buckets:
                yield _Run(as_text(bucket["key"]["run"]), bucket["key"]["run"])
            if "after_key" not in told:
                return
            grouping["after"] = told["after_key"]

    def _read(self, view: str, fields: _Fields, run: _Run, handle: Handle) -> None:
        if not run.run_id.isprintable() or not 0 < len(run.run_id.encode()) <= MAX_RUN_ID_BYTES:
            reason = f"a {self._run_field} is empty, holds control characters or is longer than {MAX_RUN_ID_BYTES} bytes"
            handle(Problem(self._name, f"{reason}: that run is passed over"))
            return
        without_text: Counter[str] = Counter()
        labels: dict[str, str] = {}
        started: datetime | None = None
        for number, hits in enumerate(self._pages(view, fields, run)):
            started = _time(hits[0], fields.time) if number == 0 else started
            for source, text, new in self._pieces(hits, labels, without_text):
                handle(Chunk(run.run_id, text, source, new))
        for source, count in without_text.items():
            handle(Chunk(run.run_id, b"", source))
            reason = (
                f"{count} documents have no text in the field {self._settings.text_field}; opensearch.text_field names it"
            )
            handle(Problem(self._name, reason, run.run_id, source))
        handle(RunEnd(run.run_id, started))

    def _pages(self, view: str, fields: _Fields, run: _Run) -> Iterator[Sequence[Mapping[str, Any]]]:
        wanted = [self._settings.text_field, self._settings.source_field, *LABELS]
        body: dict[str, Any] = {
            "size": LINES_A_PAGE,
            "query": {"bool": {"filter": [{"term": {fields.run: run.key}}]}},
            "sort": [
                {fields.time: {"order": "asc", "unmapped_type": "date"}},
                *({name: {"order": "asc", "unmapped_type": "long"}} for name in fields.sequence),
                {"_shard_doc": "asc"},
            ],
            "_source": wanted,
            "docvalue_fields": [{"field": fields.time, "format": "epoch_millis"}],
            "track_total_hits": False,
        }
        while hits := self._search(view, body)["hits"]["hits"]:
            yield hits
            body["search_after"] = hits[-1]["sort"]

    def _pieces(
        self, hits: Sequence[Mapping[str, Any]], labels: dict[str, str], without_text: Counter[str]
    ) -> Iterator[tuple[str, bytes, Mapping[str, str]]]:
        """Source, text and new labels, neighbours of one source together."""
        before, lines = "", list[str]()
        for hit in hits:
            document = hit.get("_source", {})
            source = as_text(look_up(document, self._settings.source_field))
            new = {name: value for name in LABELS if name not in labels and (value := as_text(look_up(document, name)))}
            text = look_up(document, self._settings.text_field)
            if not isinstance(text, str):
                without_text[source] += 1
                text = None
            if lines and (source != before or new):
                yield before, _joined(lines), {}
                lines = []
            before = source
            if new:
                labels.update(new)
                yield source, b"", new
            if text is not None:
                lines.append(text)
        if lines:
            yield before, _joined(lines), {}

    def _search(self, view: str, body: Mapping[str, Any]) -> dict[str, Any]:
        told = self._ask("POST", "_search", {**body, "pit": {"id": view, "keep_alive": KEEP_ALIVE}})
        if not told:
            raise StoreError(
                f"OpenSearch has let go of its view of {self._name}, since a page of lines took longer than {KEEP_ALIVE} to "
                "judge; runs that ended are stored, repeat for the others"
            )
        if told.get("timed_out") or told.get("_shards", {}).get("failed"):
            raise StoreError(f"OpenSearch did not search all of {self._name}; check its shards and repeat")
        return told

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One request, repeated while the server is busy or away."""
        began = self._clock.monotonic()
        for wait in retry_waits(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS):
            try:
                return self._server.ask(method, path, body)
            except BadAnswer as error:
                if not error.busy or self._clock.monotonic() - began >= self._settings.retry_seconds:
                    raise
            self._clock.sleep(wait)
        raise AssertionError("waits never end")


_TIMES = "now-1d, 2026-11-01T08:00 or 2026-11-01..2026-11-02"
# Dates with or without a time of day, and those that the field itself knows.
_FORMATS = "strict_date_optional_time||epoch_millis"


def _can_be_searched(kinds: Mapping[str, Any] | None) -> bool:
    return bool(kinds) and all(kind["aggregatable"] and kind["searchable"] for kind in (kinds or {}).values())


def _time(hit: Mapping[str, Any], field: str) -> datetime | None:
    """Of the first line; none where that has no time, or one that no date can be."""
    try:
        return datetime.fromtimestamp(int(float(hit["fields"][field][0])) / 1000, UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        return None


def _joined(lines: Sequence[str]) -> bytes:
    """A document is a line or several, with or without the last line's end. Half characters are no UTF-8."""
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines).encode(errors="replace")
