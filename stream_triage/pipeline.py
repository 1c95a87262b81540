"""Chunks of runs in, verdicts out: the chain of stages, in order. Start reading here.

    chunks → decode → cut lines → take off wrappers → redact → spool → rules → mask, keys → detect, next key → procedures
           → completeness → fold → classify → verdict

`Session.feed` only decodes and cuts lines, and queues them. `Triage.advance` takes the queued lines of many sessions through
the stages, in batches. `Session._take` is the chain for one batch; `verdicts.py` turns what the stages know into a verdict.

Every stage keeps its state per source and works line by line, in order, so neither the cutting of the bytes nor the
interleaving of sources changes a verdict. The state of an open run is bounded; its redacted text goes to a spool.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from typing import Final

from stream_triage.bundle import Bundle
from stream_triage.choosing import Chooser, Sample
from stream_triage.dialects import Dialects, DialectTable
from stream_triage.errors import BundleError
from stream_triage.model import Model, Models, SourceState
from stream_triage.ports import Spool
from stream_triage.records import Verdict
from stream_triage.spool import SpillSpool
from stream_triage.stages import completeness
from stream_triage.stages.assemble import LineCutter
from stream_triage.stages.decode import AUTO, Decoder
from stream_triage.stages.detect import NEW
from stream_triage.stages.fold import fold
from stream_triage.stages.redact import Redactor
from stream_triage.stages.reduce import NO_LIMIT, Budget
from stream_triage.stages.rules import Rules
from stream_triage.stages.wrappers import Batch, Unwrapper
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
        model: The bundle that judges the run. One that is chosen may change when another source begins.
        chosen: Whether the bundle is chosen by the lines of the run.
        sources: State of each source, by its shown name.
    """

    def __init__(
        self, triage: "Triage", model: Model, run_id: str, headers: Mapping[str, str], *, chosen: bool = False
    ) -> None:
        self._triage = triage
        self.model = model
        self.chosen = chosen
        self.run_id = triage.redactor.run_id(run_id)
        self.headers = dict(triage.redactor.header(name, value) for name, value in headers.items())
        self.text: Spool = triage.open_spool(self.run_id)
        self.queued_bytes = 0
        self.sources: dict[str, SourceState] = {}
        self._shown_names: dict[tuple[str, str], str] = {}
        """By source and service; the service is empty for the source itself."""
        self._closed = self._ending = False
        self._broken: Exception | None = None

    def feed(self, data: bytes, source: str = "") -> None:
        """Takes bytes of one source, cut anywhere. Only decodes them, cuts lines and queues these.

        Raises:
            TypeError: `data` is no bytes, such as a `str`: encode it first.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"feed takes bytes, not {type(data).__name__}; encode text first: text.encode()")
        state = self._source(source)
        state.queue += state.cutter.feed(state.decoder.feed(data))
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

    def noted(self, note: str, source: str = "") -> None:
        """Records what the verdict must say of a source, and what is no reason for a review."""
        self._source(source).notes.append(self._triage.redactor.text(note))

    def repeated(self, messages: int, size: int, source: str = "") -> None:
        """Records what was not fed because it had come before."""
        state = self._source(source)
        state.repeated_messages += messages
        state.repeated_bytes += size

    def peek(self) -> Verdict:
        """A provisional verdict on the whole lines so far. May be asked for at any time and changes no later verdict.

        Lines whose encoding or wrapper is not decided yet are read as if no more came. The exception are lines around a NUL
        or a byte order mark, until 512 bytes have come after it.
        """
        self._triage.advance([self])
        with self._trial() as trial:
            return trial._verdict(final=False)

    def certain_to_fail(self) -> bool:
        """Whether the lines so far make it certain that the run fails; always false if the bundle has no early stop."""
        if self.model.early_stop is None:
            return False
        with self._trial() as trial:
            early_stop = trial.model.early_stop
            return early_stop is not None and early_stop.certain_to_fail(
                state.classify["terms"].seen for state in trial.sources.values()
            )

    def close(self) -> Verdict:
        """The final verdict. `text` stays readable until it is closed itself."""
        if not self._closed:
            for state in self.sources.values():
                state.queue += state.cutter.feed(state.decoder.finish())
                last = state.cutter.finish()
                state.queue += last
                state.completeness.open_line = bool(last)
            self._ending = True
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
            for name in list(self.sources):
                state = self.sources[name]
                queue, state.queue = state.queue, []
                if state.sample is not None:
                    queue = self._choose(state, queue)
                if self._ending or queue:
                    self._unwrap(name, self.sources[name], queue)
        except Exception as error:
            self._broken = error
            raise
        self.queued_bytes = 0

    def _choose(self, state: SourceState, lines: list[str]) -> list[str]:
        """Collects the first lines of a source, and chooses the bundle again once there are enough of them.

        Returns the lines that can be read now: none until then. A source whose first lines another bundle knows does not
        change what takes its wrappers off: that is chosen by the source alone, so that the order of sources does not matter.
        """
        assert state.sample is not None
        chooser = self._triage.chooser
        held = [*state.held, *lines]
        state.sample.add(lines)
        if chooser is None or not (state.sample.full or self._ending):
            state.held = held
            return []
        state.counts, state.sample, state.held = chooser.count(state.sample), None, []
        own = self._triage.models[chooser.choose([state.counts])]
        state.unwrapper = Unwrapper(own.judge, self._triage.input_format)
        self._use(self._triage.models[chooser.choose([one.counts for one in self.sources.values() if one.counts])])
        return held

    def _use(self, model: Model) -> None:
        """Goes on with another bundle, which reads again what the one before has read."""
        if model is self.model:
            return
        self.model = model
        for name, old in self.sources.items():
            state = self.sources[name] = copy(old)
            state.begin(model)
            if state.sample is None:
                for first in range(1, state.lines + 1, BATCH_LINES):
                    shown = self.text.read(name, first, min(first + BATCH_LINES - 1, state.lines))
                    self._read(state, [state.unwrapper.shown_body(line) for line in shown], first)

    def _unwrap(self, name: str, state: SourceState, lines: list[str]) -> None:
        """Takes the wrappers off the next lines of a source; the lines of each service go on as a source of their own."""
        for batch in state.unwrapper.take(lines, final=self._ending):
            writer = self._service(name, batch.service, state) if batch.service else name
            if batch.service:
                size = batch.size
                self.sources[writer].moved_bytes += size
                state.moved_bytes -= size
            for start in range(0, len(batch.bodies), BATCH_LINES):
                self._take(writer, self.sources[writer], batch.part(start, start + BATCH_LINES))

    def _take(self, name: str, state: SourceState, batch: Batch) -> None:
        """The chain: one batch of lines of one source, through every stage that keeps state."""
        first = state.lines + 1
        state.lines += len(batch.bodies)

        # Secrets and identities go first: no later stage, file or message may see them. People see the whole line, models
        # and rules the part of it that the program wrote.
        lines = self._triage.redactor.lines("\n".join(batch.bodies), state.redact).split("\n")
        self.text.append(name, batch.shown(lines, self._triage.redactor.lines, state.redact_prefix))
        lines = batch.read(lines)
        if self._triage.on_lines:
            self._triage.on_lines(self.run_id, name, lines, first)
        self._read(state, lines, first)

    def _read(self, state: SourceState, lines: list[str], first: int) -> None:
        """The part of the chain that depends on the bundle; `first` is the number of the first line."""
        model = self.model
        if not model.card.classifiers:  # a bundle that only reduces logs reads the text at the end of the run
            state.detect.lines += sum(bool(line.strip()) for line in lines)
            return
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
            state.read_lines += sum(model.procedures.knows(line.signal) for line in masked if line.key_index == NEW)

        # What the log began and did not end, and what ends in it without a beginning.
        completeness.follow(state.completeness, lines, [line.clues for line in masked], first)

        # Which label: classifiers read each distinct line of a source once.
        kept = fold([line.fold_hash for line in masked], state.fold)
        model.classifier.update(state.classify, [masked[i].features for i in kept], [first + i for i in kept])

        if len(lines) == BATCH_LINES:  # more will follow: what waits for full windows must stay small
            model.advance([state])

    @contextmanager
    def _trial(self) -> Iterator["Session"]:
        """This run as if no more lines came, for what is said about it on the way.

        Lines of a source wait until their encoding and their wrapper are known. Here they go through stages of their own,
        which are dropped afterwards: the decisions themselves must not depend on when somebody asks.
        """
        trial = copy(self)
        trial.sources, trial._shown_names, trial._ending = dict(self.sources), dict(self._shown_names), True
        waits = {name: trial._wait(name, state) for name, state in self.sources.items()}
        waiting = {name: lines for name, lines in waits.items() if lines or self.sources[name].sample is not None}
        if not waiting:
            yield self
            return
        trial.text = _Overlay(self.text, self._triage.open_spool(self.run_id))
        try:
            for name, lines in waiting.items():
                state = trial.sources[name]
                read = lines if state.sample is None else trial._choose(state, lines)
                trial._unwrap(name, trial.sources[name], read)
            trial.model.advance([state for name, state in trial.sources.items() if state is not self.sources.get(name)])
            yield trial
        finally:
            trial.text.close()

    def _wait(self, name: str, real: SourceState) -> list[str]:
        """Lines of a source that wait for a decision. If there are any, this run gets a state of its own for them."""
        decoder, text = real.decoder.decided()
        cutter = deepcopy(real.cutter) if text else real.cutter
        if real.sample is not None:
            state = self._start_again(name, real, real.unwrapper)
            state.sample, state.held = deepcopy(real.sample), list(real.held)
            state.decoder, state.cutter = decoder, cutter
            return cutter.feed(text) if text else []
        lines = [*real.unwrapper.held, *cutter.feed(text)] if text else list(real.unwrapper.held)
        if not lines:
            return []
        if real.unwrapper.held:
            state = self._start_again(name, real, real.unwrapper.again())
        else:
            # The services whose lines the source contains go with it. The lines themselves have been through the stages.
            opened = self._triage.models.opened.values()
            shared = (*opened, *(model.judge for model in opened), real.decoder)
            parts = {other: state for other, state in self.sources.items() if state.unwrapper is real.unwrapper}
            self.sources |= deepcopy(parts, {id(one): one for one in shared})
            state = self.sources[name]
        state.decoder, state.cutter = decoder, cutter
        return lines

    def _start_again(self, name: str, real: SourceState, unwrapper: Unwrapper) -> SourceState:
        """A fresh state for a source none of whose lines has been through the stages."""
        state = self._start(name, unwrapper)
        state.headers, state.counts = real.headers, real.counts
        state.problems, state.notes = real.problems, real.notes
        state.repeated_messages, state.repeated_bytes = real.repeated_messages, real.repeated_bytes
        state.begin(self.model)
        return state

    def _verdict(self, final: bool) -> Verdict:
        return verdict_of(
            self.model,
            self.sources,
            self.text,
            run_id=self.run_id,
            headers=self.headers,
            final=final,
            chosen=self.chosen,
        )

    def _source(self, name: str) -> SourceState:
        if self._closed:
            raise ValueError(f"run {self.run_id} is closed")
        shown = self._shown_names.get((name, ""))
        if shown is None:
            shown = self._shown_names[name, ""] = self._shown_name(name)
            state = self._start(shown, Unwrapper(self.model.judge, self._triage.input_format))
            state.sample = Sample() if self.chosen else None
        return self.sources[shown]

    def _service(self, source: str, service: str, state: SourceState) -> str:
        """Shown name of a service whose lines a source contains: `SOURCE/SERVICE`."""
        shown = self._shown_names.get((source, service))
        if shown is None:
            shown = self._shown_name(f"{source}/{service}" if source else service)
            self._shown_names[source, service] = shown
            self._start(shown, state.unwrapper).service = True
        return shown

    def _start(self, shown: str, unwrapper: Unwrapper) -> SourceState:
        triage = self._triage
        state = self.sources[shown] = SourceState(
            Decoder(triage.encoding),
            LineCutter(triage.line_bytes),
            triage.redactor.start(),
            source=shown,
            headers=dict(self.headers),
            unwrapper=unwrapper,
        )
        state.begin(self.model)
        return state

    def _shown_name(self, name: str) -> str:
        """The name without identities; names that become equal by that are numbered in the order they arrive."""
        first = shown = self._triage.redactor.text(name)
        number = 1
        while shown in self.sources:
            number += 1
            shown = f"{first}~{number}"
        return shown


class _Overlay:
    """Text of an open run, and more lines of its sources in another spool."""

    def __init__(self, below: Spool, above: Spool) -> None:
        self._below = below
        self._above = above

    def append(self, source: str, lines: Sequence[str]) -> None:
        """Adds lines to the upper spool."""
        self._above.append(source, lines)

    def read(self, source: str, first: int, last: int) -> list[str]:
        """Lines `first` to `last`, those of the lower spool first."""
        below = self._below.line_count(source)
        lines = self._below.read(source, first, min(last, below)) if first <= below else []
        return lines + (self._above.read(source, max(first - below, 1), last - below) if last > below else [])

    def sources(self) -> Sequence[str]:
        """Names of the sources, sorted."""
        return sorted({*self._below.sources(), *self._above.sources()})

    def line_count(self, source: str) -> int:
        """Lines of a source; 0 for one that is not known."""
        return self._below.line_count(source) + self._above.line_count(source)

    def close(self) -> None:
        """Closes the upper spool; the lower one stays open."""
        self._above.close()


class Triage:
    """Bundles, rules and redaction, ready to judge runs."""

    def __init__(
        self,
        bundles: Bundle | Sequence[Bundle],
        *,
        auto: bool = False,
        redactor: Redactor | None = None,
        rules: Rules | None = None,
        dialects: Sequence[DialectTable] = (),
        encoding: str = AUTO,
        line_bytes: int = 65_536,
        input_format: str = "auto",
        reduction_lines: int | Budget = NO_LIMIT,
        open_spool: Callable[[str], Spool] = SpillSpool,
        on_lines: Callable[[str, str, Sequence[str], int], None] | None = None,
    ) -> None:
        """Opens the bundles; the first one judges runs that ask for no other.

        Args:
            bundles: At least one bundle.
            auto: The bundle of a run is chosen by its first lines. The last bundle judges runs that no other knows. Each is
                opened when it is needed first.
            redactor: Own patterns and pseudonyms; the default replaces secrets and identities by their kind.
            rules: Hand-written rules, used before those of the bundles.
            dialects: A user's own dialects, used before those of the package.
            encoding: Encoding of the bytes of all runs; `auto` finds it out for each source.
            line_bytes: Longer lines are cut.
            input_format: Which wrapper is taken off the lines; as the setting `input.format`.
            reduction_lines: How many lines are in `Verdict.reduction`; by default a tenth of the run, at most 200, but all
                evidence.
            open_spool: Called with the shown run id; returns where the text of an open run goes.
            on_lines: Receives lines as models and rules read them: id of the run, source, lines, number of the first line.

        Raises:
            BundleError: No bundle was given, or one does not fit this installation.
            SettingsError: A rule names a label that a bundle does not have, or two dialects contradict each other.
        """
        bundles = [bundles] if isinstance(bundles, Bundle) else bundles
        budget = reduction_lines if isinstance(reduction_lines, Budget) else Budget(lines=reduction_lines)
        if not bundles:
            raise BundleError("no bundle was given")
        own_rules = rules or Rules()
        if auto:
            own_rules.check_labels(list(dict.fromkeys(label for bundle in bundles for label in bundle.card.labels)))

        def open_model(bundle: Bundle) -> Model:
            return Model(bundle, budget, own_rules.of_labels(bundle.card.labels) if auto else own_rules, dialects)

        self.models = Models(bundles, open_model)
        self.chooser: Chooser | None = None
        """Chooses the bundles of runs; None if that is not wanted."""
        if auto:
            *others, last = bundles
            self.chooser = Chooser(others, last.card.name, Dialects(dialects), input_format)
        else:
            for name in self.models:
                self.models[name]
        self.redactor = redactor or Redactor()
        self.encoding = encoding
        self.line_bytes = line_bytes
        self.input_format = input_format
        self.open_spool = open_spool
        self.on_lines = on_lines

    def session(self, run_id: str, headers: Mapping[str, str] | None = None, bundle: str | None = None) -> Session:
        """Opens a run. It is judged by the bundle of that name, by default the first one, or by one that is chosen."""
        chosen = self.chooser is not None and bundle is None
        name = bundle or (list(self.models)[-1] if chosen else next(iter(self.models)))
        return Session(self, self.models[name], run_id, headers or {}, chosen=chosen)

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
