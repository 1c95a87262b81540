"""Chunks of runs in, verdicts out: the chain of stages, in order. Start reading here.

    chunks → cut lines → redact → spool → rules → mask, keys → detect, next key → procedures → fold → classify → verdict

`Session.feed` only cuts lines and queues them. `Triage.advance` takes the queued lines of many sessions through the stages,
in batches. `Session._take` is the chain for one batch; `verdicts.py` turns what the stages know into a verdict.

Every stage keeps its state per source and works line by line, in order, so neither the cutting of the bytes nor the
interleaving of sources changes a verdict. The state of an open run is bounded; its redacted text goes to a spool.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from stream_triage.bundle import Bundle
from stream_triage.errors import BundleError
from stream_triage.model import Model, SourceState
from stream_triage.ports import Spool
from stream_triage.records import Verdict
from stream_triage.spool import SpillSpool
from stream_triage.stages import completeness
from stream_triage.stages.assemble import LineCutter
from stream_triage.stages.detect import NEW
from stream_triage.stages.fold import fold
from stream_triage.stages.redact import Redactor
from stream_triage.stages.reduce import MAX_LINES
from stream_triage.stages.rules import Rules
from stream_triage.verdicts import verdict_of

__all__ = ["Session", "Triage"]

# Lines of one source that go through the stages together.
BATCH_LINES: Final = 4096
# `Triage.run` feeds a whole text in pieces of this size.
RUN_BYTES: Final = 1 << 20


class Session:
    """One open run. Made by `Triage.session`; not thread-safe.

    Attributes:
        run_id: The id as shown, without secrets.
        headers: What the sender stated about the run, without secrets.
        text: The redacted lines so far; stays open after `close`, so whoever takes the verdict closes it.
        queued_bytes: Size of what was fed since the last advance.
        model: The bundle that judges the run.
        sources: State of each source, by its shown name.
    """

    def __init__(self, triage: "Triage", model: Model, run_id: str, headers: Mapping[str, str]) -> None:
        self._triage = triage
        self.model = model
        self.run_id = triage.redactor.run_id(run_id)
        self.headers = dict(triage.redactor.header(name, value) for name, value in headers.items())
        self.text: Spool = triage.open_spool(self.run_id)
        self.queued_bytes = 0
        self.sources: dict[str, SourceState] = {}
        self._shown_names: dict[str, str] = {}
        self._closed = False
        self._broken: Exception | None = None

    def feed(self, data: bytes, source: str = "") -> None:
        """Takes bytes of one source, cut anywhere. Only cuts lines and queues them."""
        state = self._source(source)
        state.queue += state.cutter.feed(data)
        self.queued_bytes += len(data)

    def add_headers(self, headers: Mapping[str, str]) -> None:
        """Adds headers that arrived later; the first value of a name counts.

        Rules that are limited to a test case use the headers that were there when a source began.
        """
        for name, value in headers.items():
            shown_name, shown = self._triage.redactor.header(name, value)
            self.headers.setdefault(shown_name, shown)

    def damaged(self, problem: str, source: str = "") -> None:
        """Records damage from before the bytes arrived, such as an archive that ends early."""
        self._source(source).problems.append(self._triage.redactor.text(problem))

    def peek(self) -> Verdict:
        """A provisional verdict on the whole lines so far. May be asked for at any time and changes no later verdict."""
        self._triage.advance([self])
        return self._verdict(final=False)

    def certain_to_fail(self) -> bool:
        """Whether the lines so far make it certain that the run fails; always false if the bundle has no early stop."""
        early_stop = self.model.early_stop
        if early_stop is None:
            return False
        return early_stop.certain_to_fail(state.classify["terms"].seen for state in self.sources.values())

    def close(self) -> Verdict:
        """The final verdict. `text` stays readable until it is closed itself."""
        if not self._closed:
            for state in self.sources.values():
                last = state.cutter.finish()
                state.queue += last
                state.completeness.open_line = bool(last)
            self._triage.advance([self])
            self._closed = True
        return self._verdict(final=True)

    def take_queued(self) -> None:
        """Takes the queued lines through all stages; networks may still wait for full windows (see `Triage.advance`).

        Raises whatever a stage raises (`StoreError` when the spool is full), and the same again on every later call: lines
        are missing from then on, and no verdict may hide that.
        """
        if self._broken:
            raise self._broken
        try:
            for name, state in self.sources.items():
                queue, state.queue = state.queue, []
                for start in range(0, len(queue), BATCH_LINES):
                    self._take(name, state, queue[start : start + BATCH_LINES])
        except Exception as error:
            self._broken = error
            raise
        self.queued_bytes = 0

    def _take(self, name: str, state: SourceState, lines: list[str]) -> None:
        """The chain: one batch of lines of one source, through every stage that keeps state."""
        model, first = self.model, state.lines + 1
        state.lines += len(lines)

        # Secrets and identities go first: no later stage, file or message may see them.
        lines = self._triage.redactor.lines("\n".join(lines), state.redact).split("\n")
        self.text.append(name, lines)
        model.rules.update(state.rules, lines, first)

        # What follows from a line alone (masked text, key, features) is looked up; equal lines are computed once.
        masked = model.look_up(lines)

        # How the run differs from passing runs: its template keys, and their order.
        keys = [line.key_index for line in masked]
        model.detector.update(state.detect, keys, [line.new_key for line in masked if line.key_index == NEW], first)
        if model.next_key and state.next_key:
            model.next_key.update(state.next_key, keys, first)

        # What became of each UE. Counts matter here, so repeated lines are included.
        if model.procedures and state.procedures:
            model.procedures.follow(state.procedures, lines, [line.signal for line in masked], first)

        # What the log began and did not end, and what ends in it without a beginning.
        completeness.follow(state.completeness, lines, [line.clues for line in masked], first)

        # Which label: classifiers read each distinct line of a source once.
        kept = fold([line.fold_hash for line in masked], state.fold)
        model.classifier.update(state.classify, [masked[i].features for i in kept], [first + i for i in kept])

        if len(lines) == BATCH_LINES:  # more will follow: what waits for full windows must stay small
            model.advance([state])

    def _verdict(self, final: bool) -> Verdict:
        return verdict_of(self.model, self.sources, self.text, run_id=self.run_id, headers=self.headers, final=final)

    def _source(self, name: str) -> SourceState:
        if self._closed:
            raise ValueError(f"run {self.run_id} is closed")
        shown = self._shown_names.get(name)
        if shown is None:
            shown = self._shown_names[name] = self._shown_name(name)
            triage = self._triage
            self.sources[shown] = SourceState(
                self.model, LineCutter(triage.line_bytes), triage.redactor.start(), shown, self.headers
            )
        return self.sources[shown]

    def _shown_name(self, name: str) -> str:
        """The name without identities; names that become equal by that are numbered in the order they arrive."""
        first = shown = self._triage.redactor.text(name)
        number = 1
        while shown in self.sources:
            number += 1
            shown = f"{first}~{number}"
        return shown


class Triage:
    """Bundles, rules and redaction, ready to judge runs."""

    def __init__(
        self,
        bundles: Bundle | Sequence[Bundle],
        *,
        redactor: Redactor | None = None,
        rules: Rules | None = None,
        line_bytes: int = 65_536,
        reduction_lines: int = MAX_LINES,
        open_spool: Callable[[str], Spool] = SpillSpool,
    ) -> None:
        """Opens the bundles; the first one judges runs that ask for no other.

        Args:
            bundles: At least one bundle.
            redactor: Own patterns and pseudonyms; the default replaces secrets and identities by their kind.
            rules: Hand-written rules, used before those of the bundles.
            line_bytes: Longer lines are cut.
            reduction_lines: At most this many lines are in `Verdict.reduction`.
            open_spool: Called with the shown run id; returns where the text of an open run goes.

        Raises:
            BundleError: No bundle was given, or one does not fit this installation.
            SettingsError: A rule names a label that a bundle does not have.
        """
        bundles = [bundles] if isinstance(bundles, Bundle) else bundles
        self.models = {bundle.card.name: Model(bundle, reduction_lines, rules) for bundle in bundles}
        if not self.models:
            raise BundleError("no bundle was given")
        self.redactor = redactor or Redactor()
        self.line_bytes = line_bytes
        self.open_spool = open_spool

    def session(self, run_id: str, headers: Mapping[str, str] | None = None, bundle: str | None = None) -> Session:
        """Opens a run. It is judged by the bundle of that name, by default the first one."""
        model = self.models[bundle] if bundle else next(iter(self.models.values()))
        return Session(self, model, run_id, headers or {})

    def advance(self, sessions: Iterable[Session]) -> None:
        """Takes the queued lines of these sessions through all stages; full windows of all sessions run in joint batches."""
        waiting: dict[str, list[SourceState]] = {}
        for session in sessions:
            session.take_queued()
            waiting.setdefault(session.model.card.name, []).extend(session.sources.values())
        for name, states in waiting.items():
            self.models[name].advance(states)

    def run(self, text: str | bytes, run_id: str = "run") -> Verdict:
        """Judges one whole text."""
        data = text.encode() if isinstance(text, str) else text
        session = self.session(run_id)
        for start in range(0, len(data), RUN_BYTES):
            session.feed(data[start : start + RUN_BYTES])
            self.advance([session])
        try:
            return session.close()
        finally:
            session.text.close()
