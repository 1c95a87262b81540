"""Events of a source in, verdicts into every sink: keeps the open runs, of files, streams and topics alike.

An error must cost no more than it has to. A sink that fails costs no verdict: what it could not take is tried again with the
next flush. A run whose text cannot be kept costs no other run. `costs_run` says which errors cost a run; others are raised.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import StoreError, StreamTriageError, internal_error_text
from stream_triage.identity import RunIds
from stream_triage.open_sessions import OpenSessions
from stream_triage.pipeline import Session, Triage
from stream_triage.ports import RunText, Sink, Store
from stream_triage.provisional.live import Live
from stream_triage.records import Chunk, Event, Problem, Repeats, RunEnd, Verdict, version_beside

__all__ = ["Intake", "Tally"]

# Queued text, over all open runs, at which the models get to work: they are much faster on batches.
ADVANCE_BYTES = 2 * 1024 * 1024
# Verdicts are flushed when there are so many, or when the last flush is so long ago: a flush costs a sink a disk access or a
# request, whatever it holds.
FLUSH_VERDICTS = 100
FLUSH_SECONDS = 1.0
# Ids that were changed by redaction and are remembered to notice that two runs share one. A worker runs for months; when
# there are more, the ones not seen for longest are forgotten, and two runs that lie that far apart go unnoticed.
MAX_REDACTED_IDS = 10_000


@dataclass
class Tally:
    """What an intake has seen so far."""

    runs: int = 0
    """Runs with a verdict."""
    unclean: int = 0
    """Of these, runs that did not pass cleanly (`Verdict.clean`)."""
    lines: int = 0
    """Lines of these runs."""
    errors: int = 0
    """Problems that were errors."""
    unread: int = 0
    """Of these, the ones that a source reported: each names input that was not read, or not to its end."""
    kept_earlier: int = 0
    """Verdicts that differ from the stored one of the same run, or are on other text, while the stored one is kept."""
    store_errors: list[str] = field(default_factory=list)
    """What sinks could not do, each message once."""


class _Unwritten(NamedTuple):
    """A verdict that these sinks could not take, and the text of its run, which stays open for them."""

    sinks: Sequence[Sink]
    verdict: Verdict
    text: RunText


class Intake:
    """Keeps a session for each open run and gives its verdict at its end. `handle` is what a source pushes events to.

    Args:
        triage: Judges the runs.
        sinks: Get every verdict, in this order, with the text of the run.
        store: The sink that is asked whether a run is known, and for its earlier verdict.
        again: A verdict replaces the stored one of the same text. Without it, the stored one counts.
        clock: Gives the time of verdicts and paces flushes.
        headers: Of all runs; those of a chunk outrank them.
        on_verdict: Called with each final verdict, before it is durable.
        on_problem: Called with each problem, redacted.
        on_given_up: Called with the id of a run that gets no verdict, and the reason.
        flushes: Verdicts are flushed when they are many or old; if false, only when the caller calls `flush`.
        costs_run: Whether an error costs the run that it comes from. Other errors are raised from `handle`.
        team_of: Names the team of a verdict.
        live: Gives verdicts of runs that are still open.
    """

    def __init__(
        self,
        triage: Triage,
        sinks: Sequence[Sink] = (),
        *,
        store: Store | None = None,
        again: bool = False,
        clock: Clock | None = None,
        headers: Mapping[str, str] | None = None,
        on_verdict: Callable[[Verdict], None] | None = None,
        on_problem: Callable[[Problem], None] | None = None,
        on_given_up: Callable[[str, str], None] | None = None,
        flushes: bool = True,
        costs_run: Callable[[Exception], bool] = lambda error: isinstance(error, StoreError),
        team_of: Callable[[Verdict], str | None] = lambda verdict: None,
        live: Live | None = None,
    ) -> None:
        self._triage = triage
        self._sinks = tuple(sinks)
        self._store = store
        self._again = again
        self._clock = clock or SystemClock()
        self._headers = dict(headers or {})
        self._on_verdict = on_verdict
        self._on_problem = on_problem
        self._on_given_up = on_given_up
        self._flushes = flushes
        self._costs_run = costs_run
        self._team_of = team_of
        self._live = live
        self._open = OpenSessions(triage)
        self._fed: dict[str, Session] = {}
        """Open runs that got text since the models last ran."""
        self._unwritten: list[_Unwritten] = []
        self._given_up: set[str] = set()
        """Runs that get no verdict and whose end has not come: their text is dropped until then."""
        self._redacted_ids: dict[str, str] = {}
        """By id without identities, the id of the run that had it first; the one used last is the last one."""
        self._ids = RunIds(store, triage.redactor, self._note_store_error)
        self._queued_bytes = 0
        self._unflushed = 0
        self._last_flush = self._clock.monotonic()
        self.tally = Tally()

    def handle(self, event: Event) -> None:
        """Takes one event. Raises errors that cost more than a run, see `costs_run`; a failing sink raises nothing."""
        if isinstance(event, Chunk):
            self._take(event)
        elif isinstance(event, RunEnd):
            self._end(event)
        elif isinstance(event, Problem):
            self.tally.unread += event.error
            self._note(event)
        elif isinstance(event, Repeats):
            self._count_repeats(event)
        else:
            self._advance()
            if self._live:
                self._live.look(self._open.live, self._finished)
            self._flush_when_due()

    def discard_open(self, run_ids: Iterable[str] | None = None) -> list[str]:
        """Discards these open runs, or all, without a verdict; returns their ids without identities."""
        discarded = []
        for run_id in list(self._open if run_ids is None else run_ids):
            self._given_up.discard(run_id)
            self._fed.pop(run_id, None)
            self._forget_open(run_id)
            if (name := self._open.discard(run_id)) is not None:
                discarded.append(name)
        return discarded

    def forget(self, run_id: str) -> None:
        """Removes a run of a topic from every sink that can remove one; discards it if it is open.

        Raises `StoreError` if a sink cannot remove it now; forgetting it again finishes.
        """
        self.discard_open([run_id])
        name = self._triage.redactor.run_id(self._ids.open_name(run_id))
        for unwritten in [unwritten for unwritten in self._unwritten if unwritten.verdict.run_id == name]:
            self._unwritten.remove(unwritten)
            unwritten.text.close()
        for sink in self._sinks:
            if forget := getattr(sink, "forget", None):
                forget(name)

    @property
    def unflushed(self) -> int:
        """Verdicts that may not be durable yet."""
        return self._unflushed

    def flush(self) -> bool:
        """Makes all verdicts so far durable; false if a sink could not: the tally says why, and the next call tries again.

        All sinks are flushed, also after one has failed: what the others have is durable then.
        """
        waiting, self._unwritten = self._unwritten, []
        for unwritten in waiting:
            self._write(*unwritten)
        flushed = [self._guarded(sink.flush) for sink in self._sinks]
        self._last_flush = self._clock.monotonic()
        if self._unwritten or not all(flushed):
            return False
        self._unflushed = 0
        return True

    def close(self) -> None:
        """Closes all sinks, also after one has failed; the tally says what they could not do."""
        for sink in self._sinks:
            self._guarded(sink.close)
        for unwritten in self._unwritten:
            unwritten.text.close()
        self._unwritten.clear()

    def _session(self, run_id: str, headers: Mapping[str, str]) -> Session:
        if self._open.is_packed(run_id):
            self._unpack(run_id)
        session = self._open.live.get(run_id)
        if session is None:
            name = self._ids.open_name(run_id)
            session = self._triage.session(name, {**self._headers, **headers})
            self._open.put(run_id, session)
            self._ids.begin(run_id)
        elif headers:
            session.add_headers(headers)
        return session

    def _take(self, chunk: Chunk) -> None:
        run_id = chunk.run_id
        if run_id in self._given_up:
            return
        if self._open.is_packed(run_id):
            self._ids.take(chunk)
            for due in self._open.keep(chunk):
                self._survives(due, partial(self._unpack, due))
        elif self._survives(run_id, partial(self._feed, chunk)):
            self._queued_bytes += len(chunk.data)
        if self._queued_bytes >= ADVANCE_BYTES or self._open.crowded:
            self._advance()

    def _feed(self, chunk: Chunk) -> None:
        session = self._session(chunk.run_id, chunk.headers)
        session.feed(chunk.data, chunk.source)
        self._ids.take(chunk)
        self._open.put(chunk.run_id, session)
        self._fed[chunk.run_id] = session

    def _unpack(self, run_id: str) -> None:
        """The text that waited for a packed run goes to the models with the next batch."""
        session = self._fed[run_id] = self._open.unpack(run_id)
        self._queued_bytes += session.queued_bytes

    def _advance(self) -> None:
        """Runs the models over what came since the last time. Of thousands of open runs, most have nothing new."""
        self._queued_bytes = 0
        fed, self._fed = self._fed, {}
        if self._live:
            self._live.came([run_id for run_id in fed if self._ids.may_publish(run_id)])
        try:
            self._triage.advance(fed.values())
        except Exception as error:
            if not self._costs_run(error):
                raise
            # The batch does not say which run it was: each is tried alone. A session that raised raises again, since it
            # has lost lines; one that did not goes on where the batch stopped.
            for run_id, session in fed.items():
                self._survives(run_id, partial(self._triage.advance, [session]))
        self._open.pack_surplus()

    def _survives(self, run_id: str, step: Callable[[], None]) -> bool:
        """Runs the step; false if it raised an error that costs the run, which gets no verdict then."""
        try:
            step()
        except Exception as error:
            if not self._costs_run(error):
                raise
            self._give_up(run_id, error)
            return False
        return True

    def _give_up(self, run_id: str, error: Exception) -> None:
        """Ends a run without a verdict: half of its lines would judge it wrongly. Its text is dropped until its end."""
        self._given_up.add(run_id)
        self._fed.pop(run_id, None)
        self._forget_open(run_id)
        name = self._open.discard(run_id)
        reason = str(error) if isinstance(error, StreamTriageError) else internal_error_text(error)
        name = self._ids.open_name(run_id) if name is None else name
        self._note(Problem(name, f"not judged: {reason}"))
        if self._on_given_up:
            self._on_given_up(self._ids.open_name(run_id), reason)

    def _note(self, problem: Problem) -> None:
        run_id = problem.run_id
        if run_id is not None and run_id not in self._given_up:
            self._survives(run_id, partial(self._damage, run_id, problem))
        self.tally.errors += problem.error
        if self._on_problem:
            redact = self._triage.redactor.text
            self._on_problem(replace(problem, path=redact(problem.path), reason=redact(problem.reason)))

    def _damage(self, run_id: str, problem: Problem) -> None:
        session = self._session(run_id, {})
        (session.noted if problem.note else session.damaged)(problem.reason, problem.source)

    def _count_repeats(self, repeats: Repeats) -> None:
        if repeats.run_id not in self._given_up:
            self._session(repeats.run_id, {}).repeated(repeats.messages, repeats.bytes, repeats.source)

    def _end(self, end: RunEnd) -> None:
        run_id = end.run_id
        if run_id in self._given_up:
            self._given_up.remove(run_id)
            return
        judged: list[Verdict] = []
        if not self._survives(run_id, lambda: judged.append(self._judge(end))):
            self._given_up.remove(run_id)  # this is its end
            return
        verdict = judged[0]
        self._open.remove(run_id)
        self._forget_open(run_id)
        self._check_redacted_id(end.path or self._ids.open_name(run_id), verdict.run_id)
        self.tally.runs += 1
        self.tally.unclean += not verdict.clean
        self.tally.lines += verdict.lines
        if self._on_verdict:
            self._on_verdict(verdict)
        self._unflushed += 1
        self._flush_when_due()

    def _judge(self, end: RunEnd) -> Verdict:
        session = self._session(end.run_id, {})
        verdict = session.close()
        self._fed.pop(end.run_id, None)
        published = self._live is not None and self._live.has_published(end.run_id)
        known = {"run_id": self._ids.name(end, verdict, published=published), "content": end.content, "started": end.started}
        verdict = self._finished(self._versioned(verdict.model_copy(update=known)))
        self._write(self._sinks, verdict, session.text)
        return verdict

    def _finished(self, verdict: Verdict) -> Verdict:
        """With what the pipeline does not know: its verdict depends on the text alone."""
        return verdict.model_copy(update={"time": self._clock.now(), "team": self._team_of(verdict)})

    def _forget_open(self, run_id: str) -> None:
        """Drops what was kept beside the session of a run that is no longer open."""
        self._ids.over(run_id)
        if self._live:
            self._live.over(run_id)

    def _write(self, sinks: Sequence[Sink], verdict: Verdict, text: RunText) -> None:
        """Writes a verdict to these sinks. The text stays open for those that could not take it."""
        failed = [sink for sink in sinks if not self._guarded(lambda sink=sink: sink.write(verdict, text))]  # type: ignore[misc]
        if failed:
            self._unwritten.append(_Unwritten(failed, verdict, text))
        else:
            text.close()

    def _versioned(self, verdict: Verdict) -> Verdict:
        """The verdict with a version that replaces the stored one of the same text if it should, and else does not."""
        try:
            earlier = self._store.find(verdict.run_id) if self._store else None
        except StoreError as error:  # the verdict is right all the same
            self._note_store_error(error)
            return verdict
        if earlier is None:
            return verdict
        version = version_beside(verdict.version, earlier.version, self._again)
        judged = (verdict.label, verdict.confidence, verdict.anomaly_score)
        otherwise = judged != (earlier.label, earlier.confidence, earlier.anomaly_score)
        otherwise |= bool(earlier.content and verdict.content) and earlier.content != verdict.content
        self.tally.kept_earlier += otherwise and earlier.version >= version
        return verdict.model_copy(update={"version": version})

    def _check_redacted_id(self, name: str, redacted: str) -> None:
        """Reports that two runs differ in nothing but an identity: without it they share an id, and one verdict is kept.

        Args:
            name: What tells the run from others before identities are removed: its path, or the id that it came with.
            redacted: The id of its verdict.
        """
        if redacted == name or redacted.startswith(f"{name}#"):
            return
        first = self._redacted_ids.pop(redacted, name)
        self._redacted_ids[redacted] = first
        if len(self._redacted_ids) > MAX_REDACTED_IDS:
            del self._redacted_ids[next(iter(self._redacted_ids))]
        if first != name:
            reason = "another run has this id once identities are removed; set redaction.pseudonym_key to keep them apart"
            self._note(Problem(redacted, reason))

    def _flush_when_due(self) -> None:
        if not self._flushes:
            return
        waited = self._clock.monotonic() - self._last_flush
        if self._unflushed >= FLUSH_VERDICTS or (self._unflushed and waited >= FLUSH_SECONDS):
            self.flush()

    def _guarded(self, step: Callable[[], None]) -> bool:
        """Runs a step of a sink; false if the sink failed. Other sinks, and later runs, go on."""
        try:
            step()
        except StoreError as error:
            self._note_store_error(error)
            return False
        return True

    def _note_store_error(self, error: StoreError) -> None:
        if str(error) not in self.tally.store_errors:
            self.tally.store_errors.append(str(error))
