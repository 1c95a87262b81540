"""Chunks of runs in, verdicts out: the chain of stages, in order. Read this first.

    chunks → assemble → redact → (spool) → mask → keys → fold → classify, detect, rules → reduce → verdict

`Session.feed` only cuts lines and queues them. `Triage.advance` takes the queued lines of many sessions through the models,
in batches. Every stage keeps its state per source and works line by line in order, so neither the cutting of the bytes nor
the interleaving of sources changes a verdict. The state of an open run is bounded; its redacted text goes to a spool.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nsmallest
from typing import Any, NamedTuple

from stream_triage.bundle import Bundle
from stream_triage.errors import BundleError
from stream_triage.inference import Network
from stream_triage.ports import Spool
from stream_triage.records import (
    Anomaly,
    Evidence,
    FailedUe,
    ReducedLine,
    Repairs,
    SourceSummary,
    Ues,
    Verdict,
    verdict_version,
)
from stream_triage.spool import SpillSpool
from stream_triage.stages.assemble import LineCutter
from stream_triage.stages.charcnn import CharCNN
from stream_triage.stages.classify import Classifier, Pool
from stream_triage.stages.detect import BLANK, NEW, Detection, Detector, Finding
from stream_triage.stages.early_stop import EARLY_STOP, WEIGHTS, EarlyStop
from stream_triage.stages.fold import FoldState, fold, fold_hash
from stream_triage.stages.next_key import INPUTS, OUTPUTS, NextKey, Order
from stream_triage.stages.normalise import MASKING_VERSION, key_text, mask, words
from stream_triage.stages.procedures import Procedures, ProcedureState, Signal, failed_ues
from stream_triage.stages.redact import Redactor
from stream_triage.stages.reduce import MAX_LINES, Mark, Reducer
from stream_triage.stages.rules import RULES_NAME, Rule, RuleHit, Rules
from stream_triage.stages.template import Templates
from stream_triage.stages.terms import TermClassifier
from stream_triage.stages.verdict import Decision, RuleVote, decide, input_doubts

__all__ = ["Model", "Session", "Triage", "bundle_rules"]

BATCH_LINES = 4096
# Piece of a whole text that `Triage.run` feeds at once.
RUN_BYTES = 1 << 20
# Distinct lines, raw and masked, whose key and terms are remembered over all runs, and how long they may be together.
MEMO_LINES = 65_536
MEMO_CHARACTERS = 1 << 24
MAX_EVIDENCE = 20
# A run that stopped early lacks hundreds of keys; the first ones tell where.
MAX_ANOMALIES = 50
MAX_FAILED_UES = 50
# Characters of a line that a verdict quotes; the archive has the whole line.
MAX_QUOTED = 2000
# What `expected` says where passing runs end.
END_OF_SOURCE = "the end of the source"
# Share of the strongest item below which a line is no evidence.
EVIDENCE_FLOOR = 0.02


class MaskedLine(NamedTuple):
    """All that the models need of one distinct masked line; worked out once."""

    key_index: int
    new_key: str
    fold_hash: int
    features: tuple[Any, ...]
    """One for each classifier; none for a line that folding drops."""
    signal: Signal | None = None
    """What it tells of procedures, where a classifier follows them."""


class _Memo:
    """What was worked out for lines; all of it is forgotten when it grows too large."""

    def __init__(self) -> None:
        self._known: dict[str, MaskedLine] = {}
        self._characters = 0

    def look_up(self, lines: Sequence[str], work_out: Callable[[list[str]], Iterable[MaskedLine]]) -> list[MaskedLine]:
        """The answer for each line; `work_out` is asked about those that are new, each once."""
        known, distinct = self._known, dict.fromkeys(lines)
        new = [line for line in distinct if line not in known]
        if new:
            if len(known) + len(new) > MEMO_LINES or self._characters > MEMO_CHARACTERS:
                known.clear()
                self._characters, new = 0, list(distinct)
            known.update(zip(new, work_out(new), strict=True))
            self._characters += sum(map(len, new))
        return [known[line] for line in lines]


class Model:
    """The stages that one bundle fills."""

    def __init__(self, bundle: Bundle, reduction_lines: int = MAX_LINES, rules: Rules | None = None) -> None:
        """`rules` come before those of the bundle."""
        card = bundle.card
        if card.masking_version != MASKING_VERSION:
            raise BundleError(
                f"bundle {card.name} was trained on masking version {card.masking_version}, this installation masks by "
                f"version {MASKING_VERSION}; retrain the bundle or install the version it was made with"
            )
        self.card = card
        self.templates = Templates.from_json(bundle.text("templates.json"), MASKING_VERSION)
        self.classifier = _open_pool(bundle)
        self.detector = Detector.from_file(self.templates.keys, bundle.json("detector.json"))
        self.procedures = next((c for c in self.classifier.classifiers.values() if isinstance(c, Procedures)), None)
        self.next_key = _open_next_key(bundle, self.templates.keys) if "next_key" in card.detectors else None
        self.reducer = Reducer.from_file(bundle.json("reducer.json"), reduction_lines)
        self.terms_place = list(self.classifier.classifiers).index("terms") if "terms" in self.classifier.classifiers else -1
        self.early_stop = _open_early_stop(bundle)
        self.rules = (rules or Rules()).before(bundle_rules(bundle))
        self.rules.check_labels(card.labels)
        self.passing = card.labels.index(card.passing_label)
        self._template_of = dict(zip(self.templates.keys, self.templates.templates, strict=True))
        self._raw, self._masked = _Memo(), _Memo()

    def look_up(self, lines: Sequence[str]) -> list[MaskedLine]:
        """Key and terms of each redacted line; an equal line is masked once, an equal masked line matched once.

        Logs without times in them repeat most of their lines as they are: nine in ten of the OpenAirInterface runs, one
        in three of CI logs.
        """
        return self._raw.look_up(lines, self._mask)

    def _mask(self, lines: Sequence[str]) -> list[MaskedLine]:
        masked = mask("\n".join(lines), self.card.numbers).split("\n")
        return self._masked.look_up(masked, self._work_out)

    def advance(self, states: Sequence["_SourceState"]) -> None:
        """Runs the windows that are full, of all these sources together."""
        self.classifier.advance([state.classify for state in states])
        if self.next_key:
            self.next_key.advance([state.next_key for state in states if state.next_key])

    def template(self, key: str) -> str:
        """Template text of a key; empty for keys outside the bundle."""
        return self._template_of.get(key, "")

    def _work_out(self, masked: list[str]) -> list[MaskedLine]:
        """Keys line by line, features of all lines together: networks are quicker so."""
        line_words = [words(line) for line in masked]
        hashes = [fold_hash(line, of_line) if of_line else 0 for line, of_line in zip(masked, line_words, strict=True)]
        kept = [i for i, value in enumerate(hashes) if value]
        features: list[tuple[Any, ...]] = [()] * len(masked)
        for i, read in zip(
            kept, self.classifier.read([masked[i] for i in kept], [line_words[i] for i in kept]), strict=True
        ):
            features[i] = read
        signals = [self.procedures.signal(line) for line in masked] if self.procedures else [None] * len(masked)
        return [MaskedLine(*self._key(masked[i]), hashes[i], features[i], signals[i]) for i in range(len(masked))]

    def _key(self, masked: str) -> tuple[int, str]:
        """Template index, or NEW with the key of its own, or BLANK."""
        if not masked.strip():
            return BLANK, ""
        text = key_text(masked)
        index = self.templates.match(text)
        return index, self.templates.new_key(text) if index == NEW else ""


def bundle_rules(bundle: Bundle) -> Rules:
    """Those that the bundle carries."""
    if RULES_NAME not in bundle.card.files:
        return Rules()
    return Rules.parse(bundle.data(RULES_NAME), f"{RULES_NAME} of bundle {bundle.place}")


def _open_pool(bundle: Bundle) -> Pool:
    card = bundle.card
    opened: dict[str, Classifier] = {}
    for name in card.classifiers:
        if name == "terms":
            opened[name] = TermClassifier.from_files(card.labels, bundle.json("terms.json"), bundle.arrays("terms.npz"))
        elif name == "procedures":
            profile, arrays = bundle.json("procedures.json"), bundle.arrays("procedures.npz")
            opened[name] = Procedures.from_files(card.labels, profile, arrays)
        else:
            opened[name] = CharCNN.from_files(
                card.labels,
                bundle.json("charcnn.json"),
                bundle.arrays("charcnn.npz"),
                bundle.data("charcnn_lines.onnx"),
                bundle.data("charcnn_run.onnx"),
            )
    return Pool(opened, {str(name): share for name, share in card.classifiers.items()}, card.temperature)


def _open_next_key(bundle: Bundle, keys: Sequence[str]) -> NextKey:
    network = Network(bundle.data("next_key.onnx"), INPUTS, OUTPUTS, "next_key.onnx")
    return NextKey.from_file(keys, bundle.json("next_key.json"), network)


class _SourceState:
    """Everything that is kept of one source while its run is open."""

    __slots__ = (
        "classify",
        "cutter",
        "detect",
        "fold",
        "lines",
        "next_key",
        "problems",
        "procedures",
        "queue",
        "redact",
        "rules",
    )

    def __init__(self, triage: "Triage", model: Model, source: str, headers: Mapping[str, str]) -> None:
        self.cutter = LineCutter(triage.line_bytes)
        self.queue: list[str] = []
        self.redact = triage.redactor.start()
        self.fold = FoldState()
        self.classify = model.classifier.start()
        self.procedures = next((own for own in self.classify if isinstance(own, ProcedureState)), None)
        self.detect = model.detector.start()
        self.next_key = model.next_key.start() if model.next_key else None
        self.rules = model.rules.start(source, headers)
        self.lines = 0
        self.problems: list[str] = []


class Session:
    """One open run. Made by `Triage.session`; not thread-safe."""

    def __init__(self, triage: "Triage", model: Model, run_id: str, headers: Mapping[str, str]) -> None:
        self._triage = triage
        self._model = model
        self.run_id = _shown_id(triage.redactor, run_id)
        self.headers = dict(_shown_header(triage.redactor, name, value) for name, value in headers.items())
        self.text: Spool = triage.open_spool(self.run_id)
        self.queued_bytes = 0
        self._sources: dict[str, _SourceState] = {}
        self._shown_names: dict[str, str] = {}
        self._closed = False
        self._broken: Exception | None = None

    def feed(self, data: bytes, source: str = "") -> None:
        """Takes bytes of one source, cut anywhere; cuts lines and queues them, no more."""
        state = self._source(source)
        state.queue += state.cutter.feed(data)
        self.queued_bytes += len(data)

    def tell(self, headers: Mapping[str, str]) -> None:
        """Adds headers that came later; the first value of a name counts. Rules see those a source began with."""
        for name, value in headers.items():
            shown_name, shown = _shown_header(self._triage.redactor, name, value)
            self.headers.setdefault(shown_name, shown)

    def damaged(self, problem: str, source: str = "") -> None:
        """Notes damage that came before the bytes did, such as an archive that ends early."""
        self._source(source).problems.append(self._triage.redactor.text(problem))

    def peek(self) -> Verdict:
        """Verdict on what was fed so far, in whole lines."""
        self._triage.advance([self])
        return self._verdict(final=False)

    def certain_to_fail(self) -> bool:
        """Whether what came so far says surely that the run fails; never so where the bundle has no limit for that."""
        model = self._model
        if model.early_stop is None:
            return False
        return model.early_stop.certain_to_fail(state.classify[model.terms_place].seen for state in self._sources.values())

    def close(self) -> Verdict:
        """The final verdict. The run's text stays readable in `text` until that is closed."""
        if not self._closed:
            for state in self._sources.values():
                state.queue += state.cutter.finish()
            self._triage.advance([self])
            self._closed = True
        return self._verdict(final=True)

    def _source(self, name: str) -> _SourceState:
        if self._closed:
            raise ValueError(f"run {self.run_id} is closed")
        shown = self._shown_names.get(name)
        if shown is None:
            shown = self._shown_names[name] = self._shown_name(name)
            self._sources[shown] = _SourceState(self._triage, self._model, shown, self.headers)
        return self._sources[shown]

    def _shown_name(self, name: str) -> str:
        """Without identities; sources that look alike then are numbered in the order they came."""
        first = shown = self._triage.redactor.text(name)
        alike = 1
        while shown in self._sources:
            alike += 1
            shown = f"{first}~{alike}"
        return shown

    def _advance(self) -> None:
        """Raises what its lines raised, `StoreError` when the spool is full, and from then on always: it has lost lines."""
        if self._broken:
            raise self._broken
        try:
            for name, state in self._sources.items():
                queue, state.queue = state.queue, []
                for start in range(0, len(queue), BATCH_LINES):
                    self._take(name, state, queue[start : start + BATCH_LINES])
        except Exception as error:
            self._broken = error
            raise
        self.queued_bytes = 0

    def _take(self, source: str, state: _SourceState, lines: list[str]) -> None:
        """One batch of lines of one source through all stages that keep state."""
        model, first_number = self._model, state.lines + 1
        state.lines += len(lines)
        text = self._triage.redactor.lines("\n".join(lines), state.redact)
        lines = text.split("\n")
        self.text.append(source, lines)
        model.rules.update(state.rules, lines, first_number)
        masked = model.look_up(lines)
        indexes = [line.key_index for line in masked]
        model.detector.update(
            state.detect, indexes, [line.new_key for line in masked if line.key_index == NEW], first_number
        )
        if model.next_key and state.next_key:
            model.next_key.update(state.next_key, indexes, first_number)
        if model.procedures and state.procedures:
            model.procedures.follow(state.procedures, lines, [line.signal for line in masked], first_number)
        kept = fold([line.fold_hash for line in masked], state.fold)
        model.classifier.update(state.classify, [masked[i].features for i in kept], [first_number + i for i in kept])
        if len(lines) == BATCH_LINES:  # more will follow: what waits for its window must stay small
            model.advance([state])

    def _verdict(self, final: bool) -> Verdict:
        model, card = self._model, self._model.card
        hits = model.rules.finish({name: state.rules for name, state in self._sources.items()})
        scores = model.classifier.scores({name: state.classify for name, state in self._sources.items()})
        decision = decide(scores, [_vote(hit, card.labels) for hit in hits], model.passing, card.review_below_confidence)
        detection = model.detector.finish({name: state.detect for name, state in self._sources.items()}, self._order(final))
        summaries = tuple(self._summary(name) for name in sorted(self._sources))
        doubts = input_doubts(
            sum(state.detect.lines for state in self._sources.values()),
            sum(summary.known_lines for summary in summaries),
            [summary.repairs for summary in summaries],
            card.review_below_known_share,
        )
        doubts += decision.doubts
        evidence = self._evidence(decision, detection, hits)
        anomalies = tuple(self._anomaly(finding) for finding in detection.findings[:MAX_ANOMALIES])
        return Verdict(
            run_id=self.run_id,
            version=verdict_version(sum(state.cutter.bytes_consumed for state in self._sources.values()), final),
            final=final,
            label=card.labels[decision.label],
            passed=decision.label == model.passing,
            confidence=decision.confidence,
            probabilities=dict(zip(card.labels, decision.probabilities.tolist(), strict=True)),
            needs_review=bool(doubts),
            review_reasons=tuple(doubts),
            cause=decision.cause,
            anomaly_score=detection.score,
            anomalous=detection.anomalous,
            anomalies=anomalies,
            anomaly_count=len(detection.findings),
            evidence=evidence,
            reduction=self._reduction(evidence, anomalies),
            ues=self._ues(),
            sources=summaries,
            headers=self.headers,
            bundle=card.name,
            bundle_version=card.version,
        )

    def _ues(self) -> Ues | None:
        """A UE that several sources name is one; it failed if it did in any of them."""
        states = {name: state.procedures for name, state in sorted(self._sources.items()) if state.procedures}
        seen = {ue for state in states.values() for ue in state.ues}
        if not seen:
            return None
        failed = sorted(((outcome, name) for name, state in states.items() for outcome in failed_ues(state)))
        first = [
            FailedUe(ue=ue, reason=reason, source=name, number=line, text=self._line(name, line))
            for (ue, line, reason), name in failed[:MAX_FAILED_UES]
        ]
        return Ues(seen=len(seen), failed=len({outcome.ue for outcome, _ in failed}), first=tuple(first))

    def _order(self, final: bool) -> Order | None:
        states = {name: state.next_key for name, state in self._sources.items() if state.next_key}
        return self._model.next_key.finish(states, final) if self._model.next_key else None

    def _summary(self, name: str) -> SourceSummary:
        state = self._sources[name]
        repairs = state.cutter.repairs
        return SourceSummary(
            source=name,
            lines=state.lines,
            bytes=state.cutter.bytes_consumed,
            known_lines=state.detect.known_lines,
            folded_lines=state.fold.folded_lines,
            redactions=dict(sorted(state.redact.counts.items())),
            repairs=Repairs(
                invalid_bytes=repairs.invalid_bytes,
                nul_bytes=repairs.nul_bytes,
                cut_lines=repairs.cut_lines,
                dropped_bytes=repairs.dropped_bytes,
                problems=tuple(state.problems),
            ),
        )

    def _evidence(self, decision: Decision, detection: Detection, hits: Sequence[RuleHit]) -> tuple[Evidence, ...]:
        """Rules that matched, then lines and missing keys by weight; the small rest is left out."""
        missing = [finding.key for finding in detection.findings if finding.kind == "missing"]
        states = {name: state.classify for name, state in self._sources.items()}
        shares = self._model.classifier.explain(states, decision.label, decision.rival, missing)
        # Places first, records for the few that stay: a failing run has hundreds.
        places = [(-share.weight, share.source, share.number, "") for share in shares.lines]
        places += [(-weight, "", 0, key) for key, weight in shares.missing.items()]
        strongest = nsmallest(MAX_EVIDENCE, places)
        items = [
            Evidence(kind="missing", weight=-weight, key=key, text=self._model.template(key))
            if key
            else Evidence(kind="line", weight=-weight, source=source, number=number)
            for weight, source, number, key in strongest
            if -weight > EVIDENCE_FLOOR * -strongest[0][0]
        ]
        by_rules = [
            Evidence(
                kind="rule",
                weight=self._rule_weight(hit.rule, decision),
                label=hit.rule.label,
                source=hit.source,
                number=hit.number,
                rule=hit.rule.name,
                note=hit.rule.note,
            )
            for hit in hits
            if hit.rule.decides or hit.rule.label == self._model.card.labels[decision.label]
        ]
        return tuple(self._with_text(item) for item in (*by_rules, *items))

    def _rule_weight(self, rule: Rule, decision: Decision) -> float:
        """What the rule adds to the log-odds of the label against its rival; a veto outweighs all and adds nothing."""
        index = self._model.card.labels.index(rule.label)
        return (rule.weight or 0.0) * ((index == decision.label) - (index == decision.rival))

    def _with_text(self, item: Evidence) -> Evidence:
        return item if item.number is None else item.model_copy(update={"text": self._line(item.source, item.number)})

    def _line(self, source: str, number: int) -> str:
        line = self.text.read(source, number, number)[0]
        return line if len(line) <= MAX_QUOTED else line[:MAX_QUOTED] + "…"

    def _anomaly(self, finding: Finding) -> Anomaly:
        return Anomaly(
            kind=finding.kind,
            score=finding.score,
            source=finding.source,
            number=finding.number,
            key=finding.key,
            text=self._line(finding.source, finding.number) if finding.number else "",
            rank=finding.rank,
            expected_keys=finding.expected,
            **self._about(finding),
        )

    def _about(self, finding: Finding) -> dict[str, Any]:
        """How many lines a finding is about, and what passing runs show instead, in words."""
        profile, template = self._model.detector.profile, self._model.template
        if finding.kind == "missing":
            return {"count": 0, "expected": template(finding.key)}
        if finding.kind == "length":
            return {"count": finding.lines, "expected": f"{profile.lines_low} to {profile.lines_high} lines with text"}
        if finding.expected:
            return {"count": 1, "expected": template(finding.expected[0]) if finding.expected[0] else END_OF_SOURCE}
        if finding.kind == "end":
            return {"count": 1, "expected": "a last line as passing runs have it"}
        if finding.kind == "order":
            return {"count": finding.lines, "expected": "lines in the order that passing runs have"}
        return {"count": finding.lines}

    def _reduction(self, evidence: Iterable[Evidence], anomalies: Iterable[Anomaly]) -> tuple[ReducedLine, ...]:
        marks = [
            Mark(item.source, item.number, "rule" if item.kind == "rule" else "evidence")
            for item in evidence
            if item.number is not None
        ]
        marks += [Mark(a.source, a.number, "anomaly", a.count) for a in anomalies if a.number is not None]
        for name, state in sorted(self._sources.items()):
            for key, number, count in self._first_lines(state):
                marks.append(Mark(name, number, self._model.reducer.why(key), count))
        lines = {name: state.lines for name, state in self._sources.items()}
        return tuple(
            ReducedLine(source=m.source, number=m.number, text=self._line(m.source, m.number), why=m.why, repeats=m.repeats)
            for m in self._model.reducer.reduce(marks, lines)
        )

    def _first_lines(self, state: _SourceState) -> Iterable[tuple[str, int, int]]:
        """Key, first line and count of every distinct template of a source, in the order of their first lines."""
        first, counts = state.detect.first_lines, state.detect.counts
        known = [(self._model.templates.keys[i], int(first[i]), int(counts[i])) for i in first.nonzero()[0].tolist()]
        new = [(key, number, count) for key, (number, count) in state.detect.new_keys.items()]
        return sorted(known + new, key=lambda item: item[1])


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
        """The first bundle judges runs that ask for no other. Raises `SettingsError` for rules with labels no bundle has."""
        bundles = [bundles] if isinstance(bundles, Bundle) else bundles
        self.models = {bundle.card.name: Model(bundle, reduction_lines, rules) for bundle in bundles}
        if not self.models:
            raise BundleError("no bundle was given")
        self.redactor = redactor or Redactor()
        self.line_bytes = line_bytes
        self.open_spool = open_spool

    def session(self, run_id: str, headers: Mapping[str, str] | None = None, bundle: str | None = None) -> Session:
        """Opens a run, judged by the named bundle or else by the first."""
        model = self.models[bundle] if bundle else next(iter(self.models.values()))
        return Session(self, model, run_id, headers or {})

    def advance(self, sessions: Iterable[Session]) -> None:
        """Takes all queued lines of these sessions through the models, windows of all sessions together."""
        waiting: dict[str, list[_SourceState]] = {}
        for session in sessions:
            session._advance()
            waiting.setdefault(session._model.card.name, []).extend(session._sources.values())
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


def _open_early_stop(bundle: Bundle) -> EarlyStop | None:
    if EARLY_STOP not in bundle.card.files:
        return None
    terms = len(bundle.json("terms.json")["terms"])
    return EarlyStop.from_files(bundle.json(EARLY_STOP), bundle.arrays(WEIGHTS), terms)


def _vote(hit: RuleHit, labels: Sequence[str]) -> RuleVote:
    rule = hit.rule
    return RuleVote(rule.name, labels.index(rule.label), rule.weight or 0.0, rule.veto, rule.cause)


def _shown_id(redactor: Redactor, run_id: str) -> str:
    """Without secrets; the digest of the content at the end, which tells files apart, stays whatever stands before it."""
    path, mark, digest = run_id.rpartition("#")
    if mark and len(digest) == 8 and set(digest) <= set("0123456789abcdef"):
        return f"{redactor.text(path)}#{digest}"
    return redactor.text(run_id)


def _shown_header(redactor: Redactor, name: str, value: str) -> tuple[str, str]:
    """Name and value without secrets; a name such as `password` tells that its value is one."""
    shown_name, shown = redactor.text(name), redactor.text(value)
    for separator in ("=", ": "):
        pair = redactor.text(f"{name}{separator}{shown}")
        if pair.startswith(f"{shown_name}{separator}"):
            shown = pair.removeprefix(f"{shown_name}{separator}")
    return shown_name, shown
