"""Verdicts go in; documents of verdicts and of their kept lines come out in monthly indices.

The indices are `<prefix>-verdicts-YYYY.MM` and `<prefix>-lines-YYYY.MM`. The month is that of the run's first message, so
that a run never moves to another index. docs/opensearch.md lists the fields.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple, Self

from stream_triage.clients.search import Document, Response, SearchServer
from stream_triage.clock import Clock, SystemClock, retry_waits
from stream_triage.errors import StoreError
from stream_triage.ports import RunText
from stream_triage.records import DeadLetter, Verdict
from stream_triage.settings import OpenSearchSettings

__all__ = ["OpenSearchSink", "address_of", "check_templates"]

MAX_ID_BYTES = 512
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.2, 10.0
# Headers that are fields of the same name, which is that of OpenTelemetry.
HEADER_FIELDS = ("test.case.name", "test.suite.name", "test.case.result.status", "service.version")
CREATED = 201
# Characters of an address that mean nothing in a URL, in the state that Dashboards keeps in it, or in Lucene's syntax.
_UNSAFE = re.compile(r"[^A-Za-z0-9._:/~-]")
ADDRESS_CHARACTERS = 200
TOP_EVIDENCE_CHARACTERS = 300
# Documents of runs that are written together. They are in memory at once, and a request with more keeps a small cluster busy
# for many seconds.
BATCH_RUNS, BATCH_LINES = 100, 5000

_Result = tuple[Document, Response]


class _Waiting(NamedTuple):
    """A verdict that is not written yet, with its time."""

    verdict: Verdict
    time: datetime


class OpenSearchSink:
    """Keeps the highest version of each run, by the server's own versioning. `write` buffers, `flush` makes durable.

    A document that the server rejects goes to `on_rejected`. Without it the run is kept, and each `flush` raises
    `StoreError` for it. Documents that failed for other reasons are sent again for `settings.retry_seconds`, and then kept
    for the next `flush`.
    """

    def __init__(
        self,
        server: SearchServer,
        settings: OpenSearchSettings,
        *,
        on_rejected: Callable[[DeadLetter], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._server = server
        self._prefix = settings.index_prefix
        self._retry_seconds = settings.retry_seconds
        self._on_rejected = on_rejected
        self._clock = clock or SystemClock()
        self._waiting: dict[str, _Waiting] = {}
        self._closed = False
        self._set_up = False

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        """Buffers the verdict; of several of one run, the one with the highest version."""
        self._check_open()
        known = self._waiting.get(verdict.run_id)
        if known is None or verdict.version > known.verdict.version:
            self._waiting.pop(verdict.run_id, None)
            self._waiting[verdict.run_id] = _Waiting(verdict, verdict.time or self._clock.now())

    def flush(self) -> None:
        """Writes what is buffered, some runs at a time. Raises `StoreError` and keeps every run that is not written."""
        self._check_open()
        if not self._waiting:
            return
        if not self._set_up:
            check_templates(self._server, self._prefix)
            self._set_up = True
        rejected: list[_Result] = []
        for runs in _batches(list(self._waiting.values())):
            rejected += self._write(runs)
        if rejected and not self._on_rejected:
            raise _rejection(rejected)

    def close(self) -> None:
        """Flushes. The server stays open."""
        if self._closed:
            return
        try:
            self.flush()
        finally:
            self._closed = True

    def forget(self, run_id: str) -> bool:
        """Removes verdict and lines of a run; returns False if there was none."""
        self._check_open()
        waited = self._waiting.pop(run_id, None) is not None
        indices = f"{self._prefix}-verdicts-*,{self._prefix}-lines-*"
        self._server.request("POST", f"{indices}/_refresh")
        result = self._server.request(
            "POST",
            f"{indices}/_delete_by_query?refresh=true&conflicts=proceed",
            {"query": {"term": {"triage.run.key": _id(run_id)}}},
        )
        _check_removed(result)
        return waited or bool(result.get("deleted"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, runs: Sequence[_Waiting]) -> list[_Result]:
        """Writes these runs; returns the documents that the server rejected."""
        months = self._months(runs)
        # Lines first: whoever can read a verdict can read its lines.
        lines = [document for run in runs for document in self._lines(run, months[run.verdict.run_id])]
        verdicts = [self._verdict(run, months[run.verdict.run_id]) for run in runs]
        results = self._put(lines) + self._put(verdicts)
        if any(response.status != CREATED for _, response in results):
            self._remove_old_lines(results[len(lines) :])
        rejected = [(document, response) for document, response in results if response.rejected]
        if self._on_rejected:
            for result in rejected:
                self._on_rejected(_dead_letter(*result))
        unwritten = set() if self._on_rejected else {document.run_id for document, _ in rejected}
        for run in runs:
            run_id = run.verdict.run_id
            if run_id not in unwritten and self._waiting.get(run_id) is run:
                del self._waiting[run_id]
        return rejected

    def _months(self, runs: Sequence[_Waiting]) -> dict[str, str]:
        """By run, the month of its indices. Runs from files have no time of their own: they stay in their index."""
        months = {run.verdict.run_id: _month(run.verdict.started or run.time) for run in runs}
        untimed = {_id(run.verdict.run_id): run.verdict.run_id for run in runs if run.verdict.started is None}
        if untimed:
            body = {"query": {"ids": {"values": list(untimed)}}, "_source": False, "size": len(untimed)}
            self._server.request("POST", f"{self._prefix}-verdicts-*/_refresh")
            result = self._server.request("POST", f"{self._prefix}-verdicts-*/_search", body)
            for hit in result.get("hits", {}).get("hits", []):
                months[untimed[hit["_id"]]] = hit["_index"].removeprefix(f"{self._prefix}-verdicts-")
        return months

    def _verdict(self, run: _Waiting, month: str) -> Document:
        verdict = run.verdict
        index = f"{self._prefix}-verdicts-{month}"
        fields = _fields(verdict, run.time, self._clock.now())
        return Document.from_fields(index, _id(verdict.run_id), verdict.version, fields, verdict.run_id)

    def _lines(self, run: _Waiting, month: str) -> list[Document]:
        verdict, index = run.verdict, f"{self._prefix}-lines-{month}"
        about = {"run": _run(verdict.run_id), "version": verdict.version}
        digest = hashlib.sha256(verdict.run_id.encode(errors="replace")).hexdigest()[:32]
        return [
            Document.from_fields(
                index,
                f"{digest}-{number}",
                verdict.version,
                {
                    "@timestamp": _stamp(run.time),
                    "message": line.text,
                    "triage": {
                        **about,
                        "source": line.source,
                        "number": line.number,
                        "why": line.why,
                        "repeats": line.repeats,
                    },
                },
                verdict.run_id,
            )
            for number, line in enumerate(verdict.reduction)
        ]

    def _put(self, documents: list[Document]) -> list[_Result]:
        """Sends documents until each is written or rejected; returns the last response to each, in order.

        Raises:
            StoreError: Some are neither after `retry_seconds`, or no attempt can succeed until somebody changes the server.
        """
        responses: dict[int, Response] = {}
        began, waits = self._clock.monotonic(), retry_waits(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        unsent = list(range(len(documents)))
        while unsent:
            received = self._server.bulk([documents[number] for number in unsent])
            responses.update(zip(unsent, received, strict=True))
            unsent = [number for number in unsent if responses[number].busy]
            if unsent:
                if self._clock.monotonic() - began >= self._retry_seconds:
                    reason = responses[unsent[0]].reason
                    raise StoreError(f"OpenSearch is too busy for {len(unsent)} documents: {reason}; they are kept")
                self._clock.sleep(next(waits))
        results = [(document, responses[number]) for number, document in enumerate(documents)]
        blocked = [response for _, response in results if not (response.written or response.rejected)]
        if blocked:
            raise StoreError(
                f"OpenSearch takes no documents now: {blocked[0].reason}; they are kept. Check the rights of the user "
                "(docs/opensearch.md), blocks and limits of the cluster, and that `stream-triage setup opensearch` has run"
            )
        return results

    def _remove_old_lines(self, verdicts: Sequence[_Result]) -> None:
        """Removes lines of versions below the stored one, also if another process wrote that one.

        A query removes only what a refresh has made visible, so a refresh comes first.
        """
        result = self._server.request(
            "POST",
            "_mget?_source=false",
            {"docs": [{"_index": document.index, "_id": document.id} for document, _ in verdicts]},
        )
        outdated = []
        for (document, response), stored in zip(verdicts, result.get("docs", []), strict=True):
            if stored.get("found"):
                below = {"range": {"triage.version": {"lt": stored["_version"]}}}
                outdated.append({"bool": {"filter": [{"term": {"triage.run.key": document.id}}, below]}})
            elif response.written:  # a conflict with the deleted document, whose version the server remembers for a minute
                raise StoreError(
                    f"run {document.run_id!r} was forgotten a moment ago; it can be written in a minute, and is kept"
                )
        if outdated:
            index = f"{self._prefix}-lines-*"
            query = {"query": {"bool": {"should": outdated, "minimum_should_match": 1}}}
            self._server.request("POST", f"{index}/_refresh")
            _check_removed(self._server.request("POST", f"{index}/_delete_by_query?conflicts=proceed", query))

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the sink to OpenSearch is closed; write before closing it")


def _batches(runs: Sequence[_Waiting]) -> Iterator[list[_Waiting]]:
    """Runs that are written together: of `BATCH_LINES` kept lines and `BATCH_RUNS` runs at most, or one run."""
    batch: list[_Waiting] = []
    lines = 0
    for run in runs:
        kept = len(run.verdict.reduction)
        if batch and (len(batch) >= BATCH_RUNS or lines + kept > BATCH_LINES):
            yield batch
            batch, lines = [], 0
        batch.append(run)
        lines += kept
    if batch:
        yield batch


def check_templates(server: SearchServer, prefix: str, kinds: Sequence[str] = ("verdicts", "lines")) -> None:
    """Raises `StoreError` if an index template is missing: the server would guess field types, which cannot be changed."""
    for kind in kinds:
        if not server.request("GET", f"_index_template/{prefix}-{kind}"):
            raise StoreError(
                f"OpenSearch has no index template {prefix}-{kind}; `stream-triage setup opensearch` creates it"
            )


def _fields(verdict: Verdict, time: datetime, written: datetime) -> dict[str, Any]:
    outcome = "unknown" if verdict.needs_review else "success" if verdict.passed else "failure"
    # Monitors look at the time of writing: after an outage, verdicts are written long after they were given.
    start = {"start": _stamp(verdict.started)} if verdict.started else {}
    event = {"outcome": outcome, "ingested": _stamp(written), **start}
    copied = ("version", "final", "label", "passed", "confidence", "needs_review", "review_reasons", "cause", "team",
              "why", "proved", "anomalous", "anomaly_score", "anomaly_count", "lines")  # fmt: skip
    about = {name: getattr(verdict, name) for name in copied}
    evidence = ("kind", "weight", "source", "number", "key", "rule", "text")
    anomaly = ("kind", "score", "source", "number", "key", "text")
    return {
        "@timestamp": _stamp(time),
        "event": event,
        **{name: verdict.headers[name] for name in HEADER_FIELDS if name in verdict.headers},
        "triage": {
            **about,
            "failed": int(verdict.failed),
            "disagreement": verdict.disagreement,
            "anomaly_kinds": sorted({item.kind for item in verdict.anomalies}),
            "anomaly_keys": sorted({item.key for item in verdict.anomalies if item.key}),
            "run": _run(verdict.run_id),
            "top_evidence": _top_evidence(verdict),
            "bytes": sum(source.bytes for source in verdict.sources),
            "stripped": sorted({source.stripped for source in verdict.sources if source.stripped}),
            "bundle": {"name": verdict.bundle, "version": verdict.bundle_version},
            "testbed": verdict.headers.get("testbed"),
            "labels": [f"{name}={value}" for name, value in verdict.headers.items()],
            "evidence": [
                {**{name: getattr(item, name) for name in evidence}, "words": item.words()} for item in verdict.evidence
            ],
            "anomalies": [
                {**{name: getattr(item, name) for name in anomaly}, "words": item.words()} for item in verdict.anomalies
            ],
            **({"ues": {**verdict.ues.model_dump(), "words": verdict.ues.words()}} if verdict.ues else {}),
            "verdict": verdict.model_dump_json(),
        },
    }


def _dead_letter(document: Document, response: Response) -> DeadLetter:
    key = document.run_id.encode(errors="replace")
    return DeadLetter("document", response.reason, document.origin, key, document.body)


def _rejection(rejected: Sequence[_Result]) -> StoreError:
    document, response = rejected[0]
    return StoreError(
        f"OpenSearch rejects {len(rejected)} documents, {document.origin} among them: {response.reason}; "
        "`stream-triage setup opensearch` sets up the indices as they should be"
    )


def _check_removed(result: dict[str, Any]) -> None:
    if result.get("failures") or result.get("version_conflicts") or result.get("timed_out"):
        raise StoreError("OpenSearch could not remove all documents of a run because another process writes them; repeat")


def _top_evidence(verdict: Verdict) -> str | None:
    """What to look at first: why a review is needed, else the strongest evidence, else the strongest anomaly."""
    if verdict.clean:
        return None
    lines = (item for item in verdict.evidence if item.kind != "missing" and not verdict.passed)
    texts = chain(
        verdict.review_reasons[:1],
        (item.words() for item in lines),
        (item.words() for item in verdict.evidence if not verdict.passed),
        (item.words() for item in verdict.anomalies if verdict.anomalous),
    )
    return next(texts, "")[:TOP_EVIDENCE_CHARACTERS] or None


def _run(run_id: str) -> dict[str, str]:
    """The id for people, the key to search by (the index leaves out ids of more than 8,191 characters), and the address."""
    return {"id": run_id, "key": _id(run_id), "address": address_of(run_id)}


def address_of(run_id: str) -> str:
    """Returns a name of the run that can be part of any link as it is; another run has another one.

    >>> address_of("night/17"), address_of("logs/a.log#0a1b2c3d")
    ('night/17', 'logs/a.log~0a1b2c3d')
    >>> address_of("it's 5*")
    'it_s_5_@319cbc05b81a2c34aaca'
    """
    if "~" not in run_id and len(run_id) <= ADDRESS_CHARACTERS:
        address = run_id.replace("#", "~")
        if address and not _UNSAFE.search(address):
            return address
    digest = hashlib.sha256(run_id.encode(errors="replace")).hexdigest()[:20]
    return f"{_UNSAFE.sub('_', run_id[:ADDRESS_CHARACTERS])}@{digest}"


def _id(run_id: str) -> str:
    """The id of a run's document: the run id if the server takes it, else its hash."""
    raw = run_id.encode(errors="replace")
    if 0 < len(raw) <= MAX_ID_BYTES and not raw.startswith(b"sha256:"):
        return raw.decode()
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _month(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y.%m")


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds")
