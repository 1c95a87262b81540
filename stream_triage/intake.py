"""Events of a source in, verdicts into every sink: keeps the open runs, of files, streams and later topics alike."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import StoreError, StreamTriageError, fault_place
from stream_triage.pipeline import Session, Triage
from stream_triage.ports import RunText, Sink, Store
from stream_triage.provisional.live import Live
from stream_triage.records import Chunk, Event, Problem, RunEnd, Verdict, version_beside

__all__ = ["Intake", "Tally"]

# Queued text, over all open runs, at which the models get to work.
ADVANCE_BYTES = 2 * 1024 * 1024
# Verdicts wait for company at most this long before they are made durable.
FLUSH_VERDICTS = 100
FLUSH_SECONDS = 1.0


@dataclass
class Tally:
    """What an intake has seen so far."""

    runs: int = 0
    unclean: int = 0
    lines: int = 0
    errors: int = 0
    kept_earlier: int = 0
    store_errors: list[str] = field(default_factory=list)


class _Unwritten(NamedTuple):
    sinks: Sequence[Sink]
    verdict: Verdict
    text: RunText


class Intake:
    """`handle` is what a source pushes events to; `on_verdict` and `on_problem` are told of each as they come.

    `store`, one of the sinks, is asked for earlier verdicts on the same runs; `again` replaces them. Verdicts are flushed
    as they become many or old, unless `flushes` is false: then the caller does so. `costs_run` tells errors that cost only
    the run they come from; others go up. `owner` names the team of a verdict. `live` tells of runs that go on.
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
        owner: Callable[[Verdict], str | None] = lambda verdict: None,
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
        self._owner = owner
        self._live = live
        self._open: dict[str, Session] = {}
        self._fed: dict[str, Session] = {}
        self._unwritten: list[_Unwritten] = []
        self._given_up: set[str] = set()
        self._namesakes: dict[str, str] = {}
        self._queued_bytes = 0
        self._unflushed = 0
        self._last_flush = self._clock.monotonic()
        self.tally = Tally()

    def handle(self, event: Event) -> None:
        if isinstance(event, Chunk):
            self._take(event)
        elif isinstance(event, RunEnd):
            self._end(event)
        elif isinstance(event, Problem):
            self._note(event)
        else:
            self._advance()
            if self._live:
                self._live.look(self._open, self._finished)
            self._flush_when_due()

    def discard_open(self, run_ids: Iterable[str] | None = None) -> list[str]:
        """Lets go of these runs, or of all, whose end did not come; gives the ids they are shown by."""
        left = []
        for run_id in list(self._open if run_ids is None else run_ids):
            self._given_up.discard(run_id)
            self._fed.pop(run_id, None)
            self._over(run_id)
            if session := self._open.pop(run_id, None):
                session.text.close()
                left.append(session.run_id)
        return left

    @property
    def unflushed(self) -> int:
        """Verdicts that may not be durable yet."""
        return self._unflushed

    def flush(self) -> bool:
        """Makes all verdicts so far durable; false when a sink could not, which stands in the tally and is tried again."""
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
        """Closes the sinks. What one could not do stands in the tally, and does not keep the others from closing."""
        for sink in self._sinks:
            self._guarded(sink.close)
        for unwritten in self._unwritten:
            unwritten.text.close()
        self._unwritten.clear()

    def _session(self, run_id: str, headers: Mapping[str, str]) -> Session:
        session = self._open.get(run_id)
        if session is None:
            session = self._open[run_id] = self._triage.session(run_id, {**self._headers, **headers})
        elif headers:
            session.tell(headers)
        return session

    def _take(self, chunk: Chunk) -> None:
        if chunk.run_id in self._given_up:
            return
        if not self._costing(chunk.run_id, partial(self._feed, chunk)):
            self._given_up.add(chunk.run_id)
            return
        self._queued_bytes += len(chunk.data)
        if self._queued_bytes >= ADVANCE_BYTES:
            self._advance()

    def _feed(self, chunk: Chunk) -> None:
        session = self._session(chunk.run_id, chunk.headers)
        session.feed(chunk.data, chunk.source)
        self._fed[chunk.run_id] = session

    def _advance(self) -> None:
        """Runs the models over what came since; with thousands of open runs, most have nothing."""
        self._queued_bytes = 0
        fed, self._fed = self._fed, {}
        if self._live:
            self._live.came(fed)
        try:
            self._triage.advance(fed.values())
        except Exception as error:  # of one run or of several; the others go on
            if not self._costs_run(error):
                raise
            for run_id, session in fed.items():
                if not self._costing(run_id, partial(self._triage.advance, [session])):
                    self._given_up.add(run_id)  # its text goes on coming until it ends

    def _costing(self, run_id: str, step: Callable[[], None]) -> bool:
        """False when the step raised what costs the run, which is given up then."""
        try:
            step()
        except Exception as error:
            if not self._costs_run(error):
                raise
            self._give_up(run_id, error)
            return False
        return True

    def _give_up(self, run_id: str, error: Exception) -> None:
        """A run whose text could not be kept has no verdict: half of its lines would judge it wrongly."""
        self._fed.pop(run_id, None)
        self._over(run_id)
        session = self._open.pop(run_id, None)
        if session:
            session.text.close()
        reason = str(error) if isinstance(error, StreamTriageError) else fault_place(error)
        self._note(Problem(session.run_id if session else run_id, f"not judged: {reason}"))
        if self._on_given_up:
            self._on_given_up(run_id, reason)

    def _note(self, problem: Problem) -> None:
        run_id = problem.run_id
        told = run_id is None or run_id in self._given_up or self._costing(run_id, partial(self._damage, run_id, problem))
        if run_id is not None and not told:
            self._given_up.add(run_id)
        self.tally.errors += problem.error
        if self._on_problem:
            redact = self._triage.redactor.text
            self._on_problem(replace(problem, path=redact(problem.path), reason=redact(problem.reason)))

    def _damage(self, run_id: str, problem: Problem) -> None:
        self._session(run_id, {}).damaged(problem.reason, problem.source)

    def _end(self, end: RunEnd) -> None:
        run_id = end.run_id
        if run_id in self._given_up:
            self._given_up.remove(run_id)
            return
        judged: list[Verdict] = []
        if not self._costing(run_id, lambda: judged.append(self._judge(end))):
            return
        verdict = judged[0]
        del self._open[run_id]
        self._over(run_id)
        self._note_namesake(run_id, verdict.run_id)
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
        verdict = self._finished(self._versioned(verdict)).model_copy(update={"started": end.started})
        self._write(self._sinks, verdict, session.text)
        return verdict

    def _finished(self, verdict: Verdict) -> Verdict:
        return verdict.model_copy(update={"time": self._clock.now(), "team": self._owner(verdict)})

    def _over(self, run_id: str) -> None:
        if self._live:
            self._live.over(run_id)

    def _write(self, sinks: Sequence[Sink], verdict: Verdict, text: RunText) -> None:
        """Hands a verdict to these sinks. The text stays open for those that could not take it."""
        failed = [sink for sink in sinks if not self._guarded(lambda sink=sink: sink.write(verdict, text))]  # type: ignore[misc]
        if failed:
            self._unwritten.append(_Unwritten(failed, verdict, text))
        else:
            text.close()

    def _versioned(self, verdict: Verdict) -> Verdict:
        """Above the stored verdict of the same text where that is to be replaced; else the difference is counted."""
        try:
            earlier = self._store.find(verdict.run_id) if self._store else None
        except StoreError as error:  # the verdict is good all the same
            self._tell(error)
            return verdict
        if earlier is None:
            return verdict
        version = version_beside(verdict.version, earlier.version, self._again)
        judged = (verdict.label, verdict.confidence, verdict.anomaly_score)
        otherwise = judged != (earlier.label, earlier.confidence, earlier.anomaly_score)
        self.tally.kept_earlier += otherwise and earlier.version >= version
        return verdict.model_copy(update={"version": version})

    def _note_namesake(self, run_id: str, shown: str) -> None:
        """Two runs whose ids differ in nothing but an identity count as one in the store: that must not go unseen."""
        if run_id != shown and self._namesakes.setdefault(shown, run_id) != run_id:
            reason = "another run has this id once identities are removed; set redaction.pseudonym_key to keep them apart"
            self._note(Problem(shown, reason))

    def _flush_when_due(self) -> None:
        if not self._flushes:
            return
        waited = self._clock.monotonic() - self._last_flush
        if self._unflushed >= FLUSH_VERDICTS or (self._unflushed and waited >= FLUSH_SECONDS):
            self.flush()

    def _guarded(self, step: Callable[[], None]) -> bool:
        """A sink that fails must not cost the verdicts of the runs to come."""
        try:
            step()
        except StoreError as error:
            self._tell(error)
            return False
        return True

    def _tell(self, error: StoreError) -> None:
        if str(error) not in self.tally.store_errors:
            self.tally.store_errors.append(str(error))
