"""Verdicts go in; documents of verdicts and of their kept lines come out in monthly indices.

`<prefix>-verdicts-YYYY.MM` and `<prefix>-lines-YYYY.MM`, of the month in which the run's first message came, so that the
index of a run never changes. docs/opensearch.md lists the fields.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from stream_triage.clients.opensearch import Answer, Document, SearchServer
from stream_triage.clock import Clock, SystemClock, retry_waits
from stream_triage.errors import StoreError
from stream_triage.ports import RunText
from stream_triage.records import DeadLetter, Verdict
from stream_triage.settings import OpenSearchSettings

__all__ = ["OpenSearchSink", "check_templates"]

MAX_ID_BYTES = 512
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.2, 10.0
# Headers that have a field of their own, named as OpenTelemetry names them.
FIELDS = ("test.case.name", "test.suite.name", "test.case.result.status", "service.version")
CREATED = 201

_Told = tuple[Document, Answer]


class _Waiting(NamedTuple):
    verdict: Verdict
    time: datetime


class OpenSearchSink:
    """Keeps the highest version of each run, by the server's own versioning. `write` buffers, `flush` makes durable.

    Documents that the server will not take go to `refuse`; where there is none they are kept, and told in a `StoreError` by
    each `flush`. Others that failed are tried again for `retry_seconds`, and kept for the next `flush` after that.
    """

    def __init__(
        self,
        settings: OpenSearchSettings,
        *,
        refuse: Callable[[DeadLetter], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._server = SearchServer(settings)
        self._prefix = settings.index_prefix
        self._retry_seconds = settings.retry_seconds
        self._refuse = refuse
        self._clock = clock or SystemClock()
        self._waiting: dict[str, _Waiting] = {}
        self._closed = False
        self._set_up = False

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        self._check_open()
        known = self._waiting.get(verdict.run_id)
        if known is None or verdict.version > known.verdict.version:
            self._waiting.pop(verdict.run_id, None)
            self._waiting[verdict.run_id] = _Waiting(verdict, verdict.time or self._clock.now())

    def flush(self) -> None:
        self._check_open()
        runs = list(self._waiting.values())
        if not runs:
            return
        if not self._set_up:
            check_templates(self._server, self._prefix)
            self._set_up = True
        months = self._months(runs)
        # Lines first: a verdict that is found has its lines.
        lines = [document for run in runs for document in self._lines(run, months[run.verdict.run_id])]
        verdicts = [self._verdict(run, months[run.verdict.run_id]) for run in runs]
        answers = self._put(lines) + self._put(verdicts)
        if any(answer.status != CREATED for _, answer in answers):
            self._remove_old_lines(answers[len(lines) :])
        refused = [(document, answer) for document, answer in answers if answer.refused]
        if self._refuse:
            self._hand_over(refused, self._refuse)
        unwritten = set() if self._refuse else {document.run_id for document, _ in refused}
        for run in runs:
            run_id = run.verdict.run_id
            if run_id not in unwritten and self._waiting.get(run_id) is run:
                del self._waiting[run_id]
        if unwritten:
            raise _not_taken(refused)

    def close(self) -> None:
        if self._closed:
            return
        try:
            self.flush()
        finally:
            self._closed = True
            self._server.close()

    def forget(self, run_id: str) -> bool:
        """Removes verdict and lines of a run; false when there was none."""
        self._check_open()
        waited = self._waiting.pop(run_id, None) is not None
        places = f"{self._prefix}-verdicts-*,{self._prefix}-lines-*"
        self._server.ask("POST", f"{places}/_refresh")
        told = self._server.ask(
            "POST",
            f"{places}/_delete_by_query?refresh=true&conflicts=proceed",
            {"query": {"term": {"triage.run.key": _id(run_id)}}},
        )
        _check_removed(told)
        return waited or bool(told.get("deleted"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _months(self, runs: Sequence[_Waiting]) -> dict[str, str]:
        """By run, the month of its indices. Runs from files carry no time of their own: they stay where they are."""
        months = {run.verdict.run_id: _month(run.verdict.started or run.time) for run in runs}
        untimed = {_id(run.verdict.run_id): run.verdict.run_id for run in runs if run.verdict.started is None}
        if untimed:
            body = {"query": {"ids": {"values": list(untimed)}}, "_source": False, "size": len(untimed)}
            self._server.ask("POST", f"{self._prefix}-verdicts-*/_refresh")
            told = self._server.ask("POST", f"{self._prefix}-verdicts-*/_search", body)
            for hit in told.get("hits", {}).get("hits", []):
                months[untimed[hit["_id"]]] = hit["_index"].removeprefix(f"{self._prefix}-verdicts-")
        return months

    def _verdict(self, run: _Waiting, month: str) -> Document:
        verdict = run.verdict
        index = f"{self._prefix}-verdicts-{month}"
        return Document.made(index, _id(verdict.run_id), verdict.version, _fields(verdict, run.time), verdict.run_id)

    def _lines(self, run: _Waiting, month: str) -> list[Document]:
        verdict, index = run.verdict, f"{self._prefix}-lines-{month}"
        about = {"run": _run(verdict.run_id), "version": verdict.version}
        digest = hashlib.sha256(verdict.run_id.encode(errors="replace")).hexdigest()[:32]
        return [
            Document.made(
                index,
                f"{digest}-{place}",
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
            for place, line in enumerate(verdict.reduction)
        ]

    def _put(self, documents: list[Document]) -> list[_Told]:
        """Writes all of them, or finds that the server will never take them; the last answer to each, in order."""
        answers: dict[int, Answer] = {}
        began, waits = self._clock.monotonic(), retry_waits(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        open_places = list(range(len(documents)))
        while open_places:
            given = self._server.bulk([documents[place] for place in open_places])
            answers.update(zip(open_places, given, strict=True))
            open_places = [place for place in open_places if answers[place].busy]
            if open_places:
                if self._clock.monotonic() - began >= self._retry_seconds:
                    reason = answers[open_places[0]].reason
                    raise StoreError(f"OpenSearch is too busy for {len(open_places)} documents: {reason}; they are kept")
                self._clock.sleep(next(waits))
        told = [(document, answers[place]) for place, document in enumerate(documents)]
        blocked = [answer for _, answer in told if not (answer.written or answer.refused)]
        if blocked:
            raise StoreError(
                f"OpenSearch takes no documents now: {blocked[0].reason}; they are kept. Check the rights of the user "
                "(docs/opensearch.md), blocks and limits of the cluster, and that `stream-triage setup opensearch` has run"
            )
        return told

    def _remove_old_lines(self, verdicts: Sequence[_Told]) -> None:
        """Of versions below the one that counts now, also when another process wrote that one.

        Only what a refresh has shown can be removed by query, so one comes first.
        """
        told = self._server.ask(
            "POST",
            "_mget?_source=false",
            {"docs": [{"_index": document.index, "_id": document.id} for document, _ in verdicts]},
        )
        stale = []
        for (document, answer), found in zip(verdicts, told.get("docs", []), strict=True):
            if found.get("found"):
                below = {"range": {"triage.version": {"lt": found["_version"]}}}
                stale.append({"bool": {"filter": [{"term": {"triage.run.key": document.id}}, below]}})
            elif answer.written:  # the server remembers the version of a deleted document for a minute
                raise StoreError(
                    f"run {document.run_id!r} was forgotten a moment ago; it can be written in a minute, and is kept"
                )
        if stale:
            index = f"{self._prefix}-lines-*"
            query = {"query": {"bool": {"should": stale, "minimum_should_match": 1}}}
            self._server.ask("POST", f"{index}/_refresh")
            _check_removed(self._server.ask("POST", f"{index}/_delete_by_query?conflicts=proceed", query))

    def _hand_over(self, refused: Sequence[_Told], refuse: Callable[[DeadLetter], None]) -> None:
        for document, answer in refused:
            key = document.run_id.encode(errors="replace")
            refuse(DeadLetter("document", answer.reason, document.origin, key, document.body))

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the sink to OpenSearch is closed; write before closing it")


def check_templates(server: SearchServer, prefix: str, kinds: Sequence[str] = ("verdicts", "lines")) -> None:
    """Raises `StoreError` where one is missing: the server would guess fields, and an index keeps what was guessed."""
    for kind in kinds:
        if not server.ask("GET", f"_index_template/{prefix}-{kind}"):
            raise StoreError(f"OpenSearch has no index template {prefix}-{kind}; `stream-triage setup opensearch` makes it")


def _fields(verdict: Verdict, time: datetime) -> dict[str, Any]:
    outcome = "unknown" if verdict.needs_review else "success" if verdict.passed else "failure"
    event = {"outcome": outcome, **({"start": _stamp(verdict.started)} if verdict.started else {})}
    shown = ("version", "final", "label", "passed", "confidence", "needs_review", "review_reasons", "cause", "team",
             "anomalous", "anomaly_score", "anomaly_count", "lines")  # fmt: skip
    about = {name: getattr(verdict, name) for name in shown}
    evidence = ("kind", "weight", "source", "number", "key", "rule", "text")
    anomaly = ("kind", "score", "source", "number", "key", "text")
    return {
        "@timestamp": _stamp(time),
        "event": event,
        **{name: verdict.headers[name] for name in FIELDS if name in verdict.headers},
        "triage": {
            **about,
            "failed": int(not verdict.passed),
            "disagreement": verdict.disagreement,
            "anomaly_kinds": sorted({item.kind for item in verdict.anomalies}),
            "anomaly_keys": sorted({item.key for item in verdict.anomalies if item.key}),
            "run": _run(verdict.run_id),
            "bytes": sum(source.bytes for source in verdict.sources),
            "bundle": {"name": verdict.bundle, "version": verdict.bundle_version},
            "testbed": verdict.headers.get("testbed"),
            "labels": [f"{name}={value}" for name, value in verdict.headers.items()],
            "evidence": [{name: getattr(item, name) for name in evidence} for item in verdict.evidence],
            "anomalies": [{name: getattr(item, name) for name in anomaly} for item in verdict.anomalies],
            **({"ues": verdict.ues.model_dump()} if verdict.ues else {}),
            "verdict": verdict.model_dump_json(),
        },
    }


def _not_taken(refused: Sequence[_Told]) -> StoreError:
    document, answer = refused[0]
    return StoreError(
        f"OpenSearch does not take {len(refused)} documents, {document.origin} among them: {answer.reason}; "
        "`stream-triage setup opensearch` sets up the indices as they should be"
    )


def _check_removed(told: dict[str, Any]) -> None:
    if told.get("failures") or told.get("version_conflicts") or told.get("timed_out"):
        raise StoreError("OpenSearch could not remove all documents of a run, another process writes them; repeat")


def _run(run_id: str) -> dict[str, str]:
    """The id for people, and the one to find it by: the index has no ids of more than 8,191 characters."""
    return {"id": run_id, "key": _id(run_id)}


def _id(run_id: str) -> str:
    """The run's id where the server can take it."""
    raw = run_id.encode(errors="replace")
    if 0 < len(raw) <= MAX_ID_BYTES and not raw.startswith(b"sha256:"):
        return raw.decode()
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _month(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y.%m")


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds")
