"""Lines that lie in an OpenSearch index in, a document each; out come their runs, one after the other.

A run is chosen by one line within the time asked for, and read whole. Its lines come in the order of their time; those of
the same moment in the order of the sequence fields that the index has, then in that of indexing.
"""

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from stream_triage.clients.json_fields import LABELS, as_text, look_up
from stream_triage.clients.opensearch import BadAnswer, SearchServer
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
# Pages of lines grow to so many, as long as they have not more text than this: lines may be anything from 20 bytes to 1 MB.
LINES_A_PAGE = 2_000
FIRST_LINES = 250
PAGE_BYTES = 4 << 20
CHUNK_BYTES = 256 << 10
# The server keeps what it showed at the start for so long after each request; judging a page takes seconds.
KEEP_ALIVE = "10m"
# Numbers that shippers give to the lines of a file, for lines of the same moment.
SEQUENCE_FIELDS = ("log.offset", "event.sequence", "seq")
NUMBERS = {"long", "integer", "short"}
DATES = {"date", "date_nanos"}
MAX_CANDIDATES = 10
# The same as of messages of a topic (worker/runs.py; a test compares them).
MAX_KEY_BYTES = 1024
MAX_SOURCES = 256
MAX_LABEL_CHARACTERS = 1024
FIRST_MS, LAST_MS = 946_684_800_000, 4_102_444_800_000


class _Fields(NamedTuple):
    """Names to search and sort by, as the index has them."""

    run: str
    time: str
    time_type: str
    sequence: tuple[str, ...]
    text_is_mapped: bool


class OpenSearchSource:
    """The runs of an index, an alias or a pattern. `time` is a date, `now-1d` or `2026-11-01..2026-11-02`.

    `refuse` says why a run must not have this id, if so. Raises `SettingsError` where index, fields or time are wrong,
    `StoreError` when the server fails for longer than `retry_seconds`; what was asked of it is let go of in any case.
    """

    def __init__(
        self,
        settings: OpenSearchSettings,
        index: str,
        *,
        run_field: str,
        time: str,
        refuse: Callable[[str], str | None] = lambda run_id: None,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._name = f"{SCHEME}{printable(index)}"
        self._index = quote(index, safe="*,-")
        self._run_field = run_field
        self._since, _, self._until = time.partition("..")
        self._refuse = refuse
        self._clock = clock or SystemClock()
        self._lines_a_page = min(FIRST_LINES, LINES_A_PAGE)
        self.total_bytes: int | None = None
        self.read_bytes = 0
        self._server = SearchServer(settings)

    def run(self, handle: Handle) -> None:
        with self._server:
            fields = self._fields()
            window = self._window(fields)
            self._check_text(fields, window)
            # Without all shards, lines would be missing and nothing would say so.
            view = self._ask(
                "POST",
                f"{self._index}/_search/point_in_time?keep_alive={KEEP_ALIVE}&allow_partial_pit_creation=false",
            )["pit_id"]
            try:
                self._tell_strays(view, fields, window, handle)
                unordered = 0
                for key in self._runs(view, fields, window):
                    unordered += self._read(view, fields, key, handle)
                self._tell_unordered(unordered, handle)
            finally:
                with suppress(StoreError):  # what went wrong before says more, and the server lets go of it by itself
                    self._server.ask("DELETE", "_search/point_in_time", {"pit_id": [view]})

    def _fields(self) -> _Fields:
        time, text = self._settings.time_field, self._settings.text_field
        names = [self._run_field, f"{self._run_field}.keyword", time, text, *SEQUENCE_FIELDS]
        told = self._ask("GET", f"{self._index}/_field_caps?fields={','.join(quote(name, safe='.@') for name in names)}")
        if not told.get("indices"):
            raise SettingsError(f"OpenSearch has no index {self._name.removeprefix(SCHEME)}, or this user may not see it")
        known: Mapping[str, Mapping[str, Any]] = told["fields"]
        times = set(known.get(time, ()))
        if not times or not times <= DATES:
            raise SettingsError(f"{time} is no date in {self._name}; opensearch.time_field names the one to go by")
        return _Fields(
            self._group_by(known),
            time,
            "date_nanos" if "date_nanos" in times else "date",  # of both kinds, the finer: else one sorts before the other
            tuple(name for name in SEQUENCE_FIELDS if name in known and set(known[name]) <= NUMBERS),
            text in known,
        )

    def _group_by(self, known: Mapping[str, Mapping[str, Any]]) -> str:
        """The field of runs, or where it is text the keyword beside it, as an index without a template of its own has."""
        name, beside = self._run_field, f"{self._run_field}.keyword"
        kinds = known.get(name, {})
        if len(kinds) == 1 and _can_be_searched(kinds):
            return name
        if set(kinds) == {"text"} and len(known.get(beside, ())) == 1 and _can_be_searched(known[beside]):
            return beside
        if len(kinds) > 1:
            raise SettingsError(
                f"--run-field {name} is {' and '.join(sorted(kinds))} in the indices of {self._name}; name those of one kind"
            )
        reason = "is text that cannot be grouped by, and has no sub-field keyword" if "text" in kinds else "is no field"
        raise SettingsError(f"--run-field {name} {reason} in {self._name}; {self._nearest(name, 'keyword')}")

    def _nearest(self, name: str, kind: str) -> str:
        """Fields that may have been meant, those first that are spelt alike."""
        told = self._ask("GET", f"{self._index}/_field_caps?fields=*")["fields"]
        known = {found.removesuffix(".keyword") for found, kinds in told.items() if found[:1] != "_" and kind in kinds}
        nearest = difflib.get_close_matches(name, sorted(known), n=MAX_CANDIDATES, cutoff=0.0)
        return f"fields that could be: {printable(', '.join(nearest)) or 'none'}"

    def _window(self, fields: _Fields) -> Mapping[str, Any]:
        """The time asked for, as a filter: `now` is one moment for all requests."""
        between = {"from": self._since or None, "to": self._until or None}
        given = {name: value for name, value in between.items() if value}
        if not given:
            raise SettingsError(f"--time is empty; write {_TIMES}")
        ranges = {"date_range": {"field": fields.time, "format": _FORMATS, "ranges": [given]}}
        try:
            told = self._ask("POST", f"{self._index}/_search?size=0", {"aggs": {"time": ranges}})
        except BadAnswer as error:
            if error.status != 400:
                raise
            raise SettingsError(f"--time cannot be understood; write {_TIMES}") from None
        (bucket,) = told["aggregations"]["time"]["buckets"]
        edges = {"gte": bucket.get("from"), "lt": bucket.get("to")}
        limits = {name: int(value) for name, value in edges.items() if value is not None}
        if limits.get("gte", FIRST_MS) >= limits.get("lt", LAST_MS):
            raise SettingsError(f"--time ends before it begins, or nothing lies between; write {_TIMES}")
        return {"range": {fields.time: {**limits, "format": "epoch_millis"}}}

    def _check_text(self, fields: _Fields, window: Mapping[str, Any]) -> None:
        """One look at a document, where the index does not know the field: it may be stored all the same."""
        text = self._settings.text_field
        if fields.text_is_mapped:
            return
        body = {"size": 1, "query": {"bool": {"filter": [window]}}, "_source": [text]}
        hits = self._ask("POST", f"{self._index}/_search", body).get("hits", {}).get("hits", [])
        if hits and look_up(hits[0].get("_source", {}), text) is None:
            raise SettingsError(
                f"documents of {self._name} have no field {text}; opensearch.text_field names the text of a line; "
                f"{self._nearest(text, 'text')}"
            )

    def _tell_strays(self, view: str, fields: _Fields, window: Mapping[str, Any], handle: Handle) -> None:
        without = {"bool": {"filter": [window], "must_not": [{"exists": {"field": fields.run}}]}}
        told = self._search(view, {"size": 0, "track_total_hits": True, "query": without})
        if count := told["hits"]["total"]["value"]:
            handle(Problem(self._name, f"{count} lines of this time have no {fields.run}, no run is theirs", error=False))

    def _tell_unordered(self, runs: int, handle: Handle) -> None:
        if runs:
            reason = (
                f"in {runs} runs, lines of the same moment lie in different shards: their order is not known; index lines "
                f"with {SEQUENCE_FIELDS[0]}, or those of a run into one shard"
            )
            handle(Problem(self._name, reason, error=False))

    def _runs(self, view: str, fields: _Fields, window: Mapping[str, Any]) -> Iterator[Any]:
        """Values of the run field."""
        grouping: dict[str, Any] = {"size": RUNS_A_PAGE, "sources": [{"run": {"terms": {"field": fields.run}}}]}
        body = {"size": 0, "query": {"bool": {"filter": [window]}}, "aggs": {"runs": {"composite": grouping}}}
        while buckets := (told := self._search(view, body)["aggregations"]["runs"])["buckets"]:
            for bucket in buckets:
                yield bucket["key"]["run"]
            if "after_key" not in told:
                return
            grouping["after"] = told["after_key"]

    def _read(self, view: str, fields: _Fields, key: Any, handle: Handle) -> bool:
        """One run to its end; says whether the order of its lines is in doubt."""
        run_id = as_text(key)
        if reason := self._wrong_id(run_id):
            shown = printable(run_id[:MAX_LABEL_CHARACTERS])
            handle(Problem(self._name, f"run {shown!r} is passed over: {self._run_field} {reason}"))
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

    def _wrong_id(self, run_id: str) -> str | None:
        if not run_id:
            return "is empty"
        if len(run_id.encode()) > MAX_KEY_BYTES:
            return f"is longer than {MAX_KEY_BYTES} bytes"
        if not run_id.isprintable():
            return "holds control characters"
        return self._refuse(run_id)

    def _pages(self, view: str, fields: _Fields, key: Any) -> Iterator[Sequence[Mapping[str, Any]]]:
        """In an order that is the same each time. `_shard_doc` alone is not that of indexing; and it is the same in several

        indices, so that paging by it loses lines.
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
        """All of the view or nothing: a shard that cannot answer makes the request fail."""
        told = self._ask(
            "POST",
            "_search?allow_partial_search_results=false",
            {**body, "pit": {"id": view, "keep_alive": KEEP_ALIVE}},
        )
        if not told:
            raise StoreError(
                f"OpenSearch has let go of its view of {self._name}, since a page of lines took longer than {KEEP_ALIVE} to "
                "judge or a node was started again; runs that ended are stored, repeat for the others"
            )
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


class _Reading:
    """One run while it is read: hits in, events out. What it remembers does not grow with the lines."""

    def __init__(self, run_id: str, settings: OpenSearchSettings) -> None:
        self._run_id = run_id
        self._settings = settings
        self._labels: dict[str, str] = {}
        self._labels_cut = False
        self._places: dict[str, tuple[Sequence[Any], tuple[str, int]]] = {}
        """Of each source, where its last line stands and lies."""
        self._without_text: Counter[str] = Counter()
        self._left_out = 0
        self._started: datetime | None = None
        self.unordered = False

    def take(self, hits: Sequence[Mapping[str, Any]]) -> Iterator[Event]:
        """Source by source: they meet only in the verdict. Labels come with the first chunk."""
        lines: dict[str, list[str]] = {}
        new: dict[str, str] = {}
        for hit in hits:
            document = hit.get("_source", {})
            source = as_text(look_up(document, self._settings.source_field))
            new |= self._new_labels(document)
            self._started = self._started or _time(hit, self._settings.time_field)
            if not self._note_place(source, hit):
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
        for source, count in self._without_text.items():
            field = self._settings.text_field
            yield self._problem(
                f"{count} documents have no text in the field {field}; opensearch.text_field names it", source
            )
        first = next(iter(self._places), "")
        if self._left_out:
            reason = f"{self._left_out} lines were left out, of sources beyond {MAX_SOURCES} or with names longer than "
            reason += f"{MAX_LABEL_CHARACTERS} characters; opensearch.source_field names the field of the source"
            yield self._problem(reason, first)
        if self._labels_cut:
            yield self._problem(f"labels longer than {MAX_LABEL_CHARACTERS} characters were cut off", first)
        yield RunEnd(self._run_id, self._started)

    def _problem(self, reason: str, source: str) -> Problem:
        return Problem(self._run_id, reason, self._run_id, source)

    def _new_labels(self, document: Mapping[str, Any]) -> dict[str, str]:
        found = {name: as_text(look_up(document, name)) for name in LABELS if name not in self._labels}
        new = {name: value[:MAX_LABEL_CHARACTERS] for name, value in found.items() if value}
        self._labels |= new
        self._labels_cut |= any(len(value) > MAX_LABEL_CHARACTERS for value in found.values())
        return new

    def _note_place(self, source: str, hit: Mapping[str, Any]) -> bool:
        """False where the source is one too many."""
        before = self._places.get(source)
        if before is None and (len(self._places) >= MAX_SOURCES or len(source) > MAX_LABEL_CHARACTERS):
            return False
        *moment, _index, _number, document = hit["sort"]
        shard = (hit["_index"], document >> 32)
        self.unordered |= before is not None and before[0] == moment and before[1] != shard
        self._places[source] = moment, shard
        return True


_TIMES = "now-1d, 2026-11-01T08:00 or 2026-11-01..2026-11-02"
# Dates with or without a time of day, and those that the field itself knows.
_FORMATS = "strict_date_optional_time||epoch_millis"


def _can_be_searched(kinds: Mapping[str, Any]) -> bool:
    return all(kind["aggregatable"] and kind["searchable"] for kind in kinds.values())


def _text_size(hit: Mapping[str, Any], field: str) -> int:
    text = look_up(hit.get("_source", {}), field)
    return len(text) if isinstance(text, str) else 0


def _time(hit: Mapping[str, Any], field: str) -> datetime | None:
    """None where it has no time, or one that is none of a test run: senders' clocks may be anything."""
    try:
        milliseconds = int(float(hit["fields"][field][0]))
    except (KeyError, ValueError, OverflowError):
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if FIRST_MS <= milliseconds < LAST_MS else None


def _joined(lines: Sequence[str]) -> bytes:
    """A document is a line or several, with or without the last line's end. Half characters are no UTF-8."""
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines).encode(errors="replace")
