"""An OpenSearch index with a document for each log line in; its runs out, one after the other.

A run is read whole if one of its lines is within the requested time. Lines are ordered by their time; lines of the same time
by the sequence fields of the index, if it has any, and then in the order in which they were indexed.
"""

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from stream_triage.clients.json_fields import LABELS, as_text, look_up
from stream_triage.clients.search import ResponseError, SearchServer
from stream_triage.clock import Clock, SystemClock, retry_waits
from stream_triage.errors import SettingsError, StoreError
from stream_triage.ports import Handle
from stream_triage.records import Chunk, Event, Problem, RunEnd
from stream_triage.render.printable import printable
from stream_triage.settings import OpenSearchSettings

__all__ = ["SCHEME", "OpenSearchSource"]

SCHEME = "opensearch://"
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.2, 10.0
RUNS_A_PAGE = 500
# A page of lines grows up to these limits of number and text, because a line can have anything from 20 bytes to 1 MB.
LINES_A_PAGE = 2_000
FIRST_LINES = 250
PAGE_BYTES = 4 << 20
CHUNK_BYTES = 256 << 10
# For so long after each request the server keeps its view of the index. Judging a page of lines takes seconds.
KEEP_ALIVE = "10m"
# Fields with which shippers number the lines of a file; they order lines of the same time.
SEQUENCE_FIELDS = ("log.offset", "event.sequence", "seq")
NUMBER_TYPES = {"long", "integer", "short"}
DATE_TYPES = {"date", "date_nanos"}
MAX_CANDIDATES = 10
# The same limits as for messages of a topic (worker/runs.py; a test compares them).
MAX_KEY_BYTES = 1024
MAX_SOURCES = 256
MAX_LABEL_CHARACTERS = 1024
FIRST_MS, LAST_MS = 946_684_800_000, 4_102_444_800_000


class _Fields(NamedTuple):
    """The fields to search and sort by, as the index has them."""

    run: str
    time: str
    time_type: str
    sequence: tuple[str, ...]
    text_is_mapped: bool


class OpenSearchSource:
    """The runs of an index.

    Args:
        server: Closed when `run` ends.
        settings: Names of fields, and how long to repeat requests.
        index: Name of an index or alias, or a pattern.
        run_field: Field with the id of the run.
        time: A date, `now-1d` or `2026-11-01..2026-11-02`.
        rejection: Returns why a run must not have this id, or None.
        clock: For tests.
    """

    def __init__(
        self,
        server: SearchServer,
        settings: OpenSearchSettings,
        index: str,
        *,
        run_field: str,
        time: str,
        rejection: Callable[[str], str | None] = lambda run_id: None,
        clock: Clock | None = None,
    ) -> None:
        self._server = server
        self._settings = settings
        self._name = f"{SCHEME}{printable(index)}"
        self._index = quote(index, safe="*,-")
        self._run_field = run_field
        self._since, _, self._until = time.partition("..")
        self._rejection = rejection
        self._clock = clock or SystemClock()
        self._lines_a_page = min(FIRST_LINES, LINES_A_PAGE)
        self.total_bytes: int | None = None
        self.read_bytes = 0

    def run(self, handle: Handle) -> None:
        """Reads all runs. Whatever happens, the server keeps nothing open for it.

        Raises:
            SettingsError: Index, fields or time are wrong.
            StoreError: The server failed for longer than `retry_seconds`.
        """
        with closing(self._server):
            fields = self._fields()
            window = self._window(fields)
            self._check_text(fields, window)
            # If a shard were left out, lines would be missing without notice.
            view = self._request(
                "POST",
                f"{self._index}/_search/point_in_time?keep_alive={KEEP_ALIVE}&allow_partial_pit_creation=false",
            )["pit_id"]
            try:
                self._report_strays(view, fields, window, handle)
                unordered = 0
                for key in self._runs(view, fields, window):
                    unordered += self._read(view, fields, key, handle)
                self._report_unordered(unordered, handle)
            finally:
                with suppress(StoreError):  # an earlier error says more, and the server drops the view after KEEP_ALIVE
                    self._server.request("DELETE", "_search/point_in_time", {"pit_id": [view]})

    def _fields(self) -> _Fields:
        time, text = self._settings.time_field, self._settings.text_field
        names = [self._run_field, f"{self._run_field}.keyword", time, text, *SEQUENCE_FIELDS]
        quoted = ",".join(quote(name, safe=".@") for name in names)
        capabilities = self._request("GET", f"{self._index}/_field_caps?fields={quoted}")
        if not capabilities.get("indices"):
            raise SettingsError(f"OpenSearch has no index {self._name.removeprefix(SCHEME)}, or this user may not see it")
        known: Mapping[str, Mapping[str, Any]] = capabilities["fields"]
        times = set(known.get(time, ()))
        if not times or not times <= DATE_TYPES:
            raise SettingsError(f"{time} is not a date in {self._name}; set opensearch.time_field to the field of the time")
        return _Fields(
            self._group_by(known),
            time,
            "date_nanos" if "date_nanos" in times else "date",  # the finer of both types: else one sorts before the other
            tuple(name for name in SEQUENCE_FIELDS if name in known and set(known[name]) <= NUMBER_TYPES),
            text in known,
        )

    def _group_by(self, known: Mapping[str, Mapping[str, Any]]) -> str:
        """The field to group lines into runs by.

        It is the field of the run, or its sub-field `keyword` if it is text: an index without a template has both.
        """
        name, keyword = self._run_field, f"{self._run_field}.keyword"
        kinds = known.get(name, {})
        if len(kinds) == 1 and _can_be_searched(kinds):
            return name
        if set(kinds) == {"text"} and len(known.get(keyword, ())) == 1 and _can_be_searched(known[keyword]):
            return keyword
        if len(kinds) > 1:
            raise SettingsError(
                f"--run-field {name} is {' and '.join(sorted(kinds))} in the indices of {self._name}; "
                "give indices in which it has one type"
            )
        reason = "is text without a sub-field keyword to group by" if "text" in kinds else "is not a field"
        raise SettingsError(f"--run-field {name} {reason} in {self._name}; {self._nearest(name, 'keyword')}")

    def _nearest(self, name: str, kind: str) -> str:
        """Fields of a type that may have been meant, the most similar names first."""
        fields = self._request("GET", f"{self._index}/_field_caps?fields=*")["fields"]
        known = {field.removesuffix(".keyword") for field, kinds in fields.items() if field[:1] != "_" and kind in kinds}
        nearest = difflib.get_close_matches(name, sorted(known), n=MAX_CANDIDATES, cutoff=0.0)
        return f"fields that may be meant: {printable(', '.join(nearest)) or 'none'}"

    def _window(self, fields: _Fields) -> Mapping[str, Any]:
        """The requested time as a filter. The server resolves it once, so that `now` is the same time in all requests."""
        between = {"from": self._since or None, "to": self._until or None}
        given = {name: value for name, value in between.items() if value}
        if not given:
            raise SettingsError(f"--time is empty; write {_TIMES}")
        ranges = {"date_range": {"field": fields.time, "format": _FORMATS, "ranges": [given]}}
        try:
            result = self._request("POST", f"{self._index}/_search?size=0", {"aggs": {"time": ranges}})
        except ResponseError as error:
            if error.status != 400:
                raise
            raise SettingsError(f"--time cannot be understood; write {_TIMES}") from None
        (bucket,) = result["aggregations"]["time"]["buckets"]
        edges = {"gte": bucket.get("from"), "lt": bucket.get("to")}
        limits = {name: int(value) for name, value in edges.items() if value is not None}
        if limits.get("gte", FIRST_MS) >= limits.get("lt", LAST_MS):
            raise SettingsError(f"--time ends before it begins, or is empty; write {_TIMES}")
        return {"range": {fields.time: {**limits, "format": "epoch_millis"}}}

    def _check_text(self, fields: _Fields, window: Mapping[str, Any]) -> None:
        """Raises `SettingsError` if documents have no text. A field that is not in the mapping may still be in documents."""
        text = self._settings.text_field
        if fields.text_is_mapped:
            return
        body = {"size": 1, "query": {"bool": {"filter": [window]}}, "_source": [text]}
        hits = self._request("POST", f"{self._index}/_search", body).get("hits", {}).get("hits", [])
        if hits and look_up(hits[0].get("_source", {}), text) is None:
            raise SettingsError(
                f"documents of {self._name} have no field {text}; set opensearch.text_field to the field of the text; "
                f"{self._nearest(text, 'text')}"
            )

    def _report_strays(self, view: str, fields: _Fields, window: Mapping[str, Any], handle: Handle) -> None:
        without = {"bool": {"filter": [window], "must_not": [{"exists": {"field": fields.run}}]}}
        result = self._search(view, {"size": 0, "track_total_hits": True, "query": without})
        if count := result["hits"]["total"]["value"]:
            reason = f"{count} lines of this time have no {fields.run} and belong to no run"
            handle(Problem(self._name, reason, error=False))

    def _report_unordered(self, runs: int, handle: Handle) -> None:
        if runs:
            reason = (
                f"in {runs} runs, lines of the same time are in different shards, so that their order is unknown; index "
                f"lines with {SEQUENCE_FIELDS[0]}, or the lines of a run into one shard"
            )
            handle(Problem(self._name, reason, error=False))

    def _runs(self, view: str, fields: _Fields, window: Mapping[str, Any]) -> Iterator[Any]:
        """The values of the field of the run, in order."""
        grouping: dict[str, Any] = {"size": RUNS_A_PAGE, "sources": [{"run": {"terms": {"field": fields.run}}}]}
        body = {"size": 0, "query": {"bool": {"filter": [window]}}, "aggs": {"runs": {"composite": grouping}}}
        while buckets := (page := self._search(view, body)["aggregations"]["runs"])["buckets"]:
            for bucket in buckets:
                yield bucket["key"]["run"]
            if "after_key" not in page:
                return
            grouping["after"] = page["after_key"]

    def _read(self, view: str, fields: _Fields, key: Any, handle: Handle) -> bool:
        """Reads one run; returns whether the order of its lines is uncertain."""
        run_id = as_text(key)
        if reason := self._id_rejection(run_id):
            shown = printable(run_id[:MAX_LABEL_CHARACTERS])
            handle(Problem(self._name, f"run {shown!r} is skipped: {self._run_field} {reason}"))
            return False
        reading = _Reading(run_id, self._settings)
        for hits in self._pages(view, fields, key):
            for event in reading.take(hits):
                if isinstance(event, Chunk):
                    self.read_bytes += len(event.data)
                handle(event)
        for event in reading.end():
            handle(event)
        return reading.unordered

    def _id_rejection(self, run_id: str) -> str | None:
        if not run_id:
            return "is empty"
        if len(run_id.encode()) > MAX_KEY_BYTES:
            return f"is longer than {MAX_KEY_BYTES} bytes"
        if not run_id.isprintable():
            return "contains control characters"
        return self._rejection(run_id)

    def _pages(self, view: str, fields: _Fields, key: Any) -> Iterator[Sequence[Mapping[str, Any]]]:
        """The lines of a run, a page at a time, in an order that is the same each time.

        `_shard_doc` alone is not enough: it is not the order of indexing, and documents of several indices can have the same
        one, so that lines are lost between two pages.
        """
        body: dict[str, Any] = {
            "query": {"bool": {"filter": [{"term": {fields.run: key}}]}},
            "sort": [
                {fields.time: {"order": "asc", "unmapped_type": fields.time_type, "numeric_type": fields.time_type}},
                *({name: {"order": "asc", "unmapped_type": "long"}} for name in fields.sequence),
                {"_index": "asc"},
                {"_seq_no": "asc"},
                {"_shard_doc": "asc"},
            ],
            "_source": [self._settings.text_field, self._settings.source_field, *LABELS],
            "docvalue_fields": [{"field": fields.time, "format": "epoch_millis"}],
            "track_total_hits": False,
        }
        while True:
            size = self._lines_a_page
            hits = self._search(view, {**body, "size": size})["hits"]["hits"]
            if hits:
                yield hits
                room = PAGE_BYTES * len(hits) // (1 + sum(_text_size(hit, self._settings.text_field) for hit in hits))
                self._lines_a_page = max(1, min(2 * size, room, LINES_A_PAGE))
            if len(hits) < size:
                return
            body["search_after"] = hits[-1]["sort"]

    def _search(self, view: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Searches the whole view: the request fails if one shard does."""
        result = self._request(
            "POST",
            "_search?allow_partial_search_results=false",
            {**body, "pit": {"id": view, "keep_alive": KEEP_ALIVE}},
        )
        if not result:
            raise StoreError(
                f"OpenSearch has dropped its view of {self._name}, because a page of lines took longer than {KEEP_ALIVE} to "
                "judge or a node was restarted; runs that ended are stored, repeat for the others"
            )
        return result

    def _request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Sends one request, repeatedly while the server is busy or does not respond."""
        began = self._clock.monotonic()
        for wait in retry_waits(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS):
            try:
                return self._server.request(method, path, body)
            except ResponseError as error:
                if not error.busy or self._clock.monotonic() - began >= self._settings.retry_seconds:
                    raise
            self._clock.sleep(wait)
        raise AssertionError("waits never end")


class _Reading:
    """One run while it is read: hits in, events out. Its memory does not grow with the number of lines."""

    def __init__(self, run_id: str, settings: OpenSearchSettings) -> None:
        self._run_id = run_id
        self._settings = settings
        self._labels: dict[str, str] = {}
        self._labels_cut = False
        self._last: dict[str, tuple[Sequence[Any], tuple[str, int]]] = {}
        """By source, the sort values of its last line and the shard that contains it."""
        self._without_text: Counter[str] = Counter()
        self._left_out = 0
        self._started: datetime | None = None
        self.unordered = False

    def take(self, hits: Sequence[Mapping[str, Any]]) -> Iterator[Event]:
        """The chunks of a page, source by source. Labels come with the first chunk."""
        lines: dict[str, list[str]] = {}
        new: dict[str, str] = {}
        for hit in hits:
            document = hit.get("_source", {})
            source = as_text(look_up(document, self._settings.source_field))
            new |= self._new_labels(document)
            self._started = self._started or _time(hit, self._settings.time_field)
            if not self._note_last(source, hit):
                self._left_out += 1
                continue
            texts = lines.setdefault(source, [])
            text = look_up(document, self._settings.text_field)
            if isinstance(text, str):
                texts.append(text)
            else:
                self._without_text[source] += 1
        for source, texts in lines.items():
            data = _joined(texts)
            for start in range(0, len(data) or 1, CHUNK_BYTES):
                yield Chunk(self._run_id, data[start : start + CHUNK_BYTES], source, new)
                new = {}

    def end(self) -> Iterator[Event]:
        """What was missing or left out, and the end of the run."""
        for source, count in self._without_text.items():
            field = self._settings.text_field
            yield self._problem(f"{count} documents have no text in the field {field}; set opensearch.text_field", source)
        first = next(iter(self._last), "")
        if self._left_out:
            reason = f"{self._left_out} lines were left out, of sources beyond {MAX_SOURCES} or with names longer than "
            reason += f"{MAX_LABEL_CHARACTERS} characters; check opensearch.source_field"
            yield self._problem(reason, first)
        if self._labels_cut:
            yield self._problem(f"labels longer than {MAX_LABEL_CHARACTERS} characters were cut off", first)
        yield RunEnd(self._run_id, self._started)

    def _problem(self, reason: str, source: str) -> Problem:
        return Problem(self._run_id, reason, self._run_id, source)

    def _new_labels(self, document: Mapping[str, Any]) -> dict[str, str]:
        values = {name: as_text(look_up(document, name)) for name in LABELS if name not in self._labels}
        new = {name: value[:MAX_LABEL_CHARACTERS] for name, value in values.items() if value}
        self._labels |= new
        self._labels_cut |= any(len(value) > MAX_LABEL_CHARACTERS for value in values.values())
        return new

    def _note_last(self, source: str, hit: Mapping[str, Any]) -> bool:
        """Remembers the line as the last one of its source; returns False if the run has too many sources."""
        before = self._last.get(source)
        if before is None and (len(self._last) >= MAX_SOURCES or len(source) > MAX_LABEL_CHARACTERS):
            return False
        *moment, _index, _number, document = hit["sort"]
        shard = (hit["_index"], document >> 32)
        self.unordered |= before is not None and before[0] == moment and before[1] != shard
        self._last[source] = moment, shard
        return True


_TIMES = "now-1d, 2026-11-01T08:00 or 2026-11-01..2026-11-02"
# Dates with or without a time of day, and milliseconds.
_FORMATS = "strict_date_optional_time||epoch_millis"


def _can_be_searched(kinds: Mapping[str, Any]) -> bool:
    return all(kind["aggregatable"] and kind["searchable"] for kind in kinds.values())


def _text_size(hit: Mapping[str, Any], field: str) -> int:
    text = look_up(hit.get("_source", {}), field)
    return len(text) if isinstance(text, str) else 0


def _time(hit: Mapping[str, Any], field: str) -> datetime | None:
    """The time of a line. None if it is missing or cannot be that of a test run: clocks of senders can be wrong."""
    try:
        milliseconds = int(float(hit["fields"][field][0]))
    except (KeyError, ValueError, OverflowError):
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if FIRST_MS <= milliseconds < LAST_MS else None


def _joined(lines: Sequence[str]) -> bytes:
    """The text of documents, which contain a line or several, with or without a line end. Lone surrogates become `?`."""
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines).encode(errors="replace")
