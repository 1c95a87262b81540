"""Stage states of a run in, its verdict out: decision, evidence, anomalies, the lines worth reading, UEs and sources.

The stages give numbers, keys and line numbers. Here they are combined over all sources, cut to what people can read, and
quoted with the text of their lines.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from heapq import nlargest, nsmallest
from itertools import takewhile
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.model import Model, SourceState
from stream_triage.ports import RunText
from stream_triage.records import (
    UNKNOWN,
    Anomaly,
    Evidence,
    Explanation,
    FailedUe,
    ReducedLine,
    Repairs,
    Share,
    SourceSummary,
    Ues,
    Verdict,
    cut,
    verdict_version,
)
from stream_triage.shares import Item, parts_of, rest_of
from stream_triage.stages.completeness import completeness_doubts, read_clues
from stream_triage.stages.detect import Detection, Finding
from stream_triage.stages.normalise import mask
from stream_triage.stages.procedures import ProcedureState
from stream_triage.stages.procedures.breaks import failed_ues, ue_order
from stream_triage.stages.procedures.general import General
from stream_triage.stages.procedures.sentence import Reason
from stream_triage.stages.procedures.telling import telling_lines
from stream_triage.stages.reduce import Mark
from stream_triage.stages.rules import HandRule, RuleHit
from stream_triage.stages.template import NEW_PREFIX
from stream_triage.stages.verdict import UNDECIDED, Decision, RuleVote, decide, input_doubts, silence
from stream_triage.why import reason_for, sentence

__all__ = ["EVIDENCE_FLOOR", "MAX_EVIDENCE", "strongest", "verdict_of"]

MAX_EVIDENCE: Final = 20
# A run that stopped early lacks hundreds of keys; the first ones show where.
MAX_ANOMALIES: Final = 50
MAX_FAILED_UES: Final = 50
# Lines that spoke for the label and are preferred in a reduction, so that its reader comes to the same label.
MAX_SPEAKING: Final = 200
# Lines of a source that tell its procedures: the reduction of a run with hundreds of UEs needs room for other lines, too.
MAX_TELLING: Final = 64
# Characters of a line that a verdict quotes; the archive has the whole line.
MAX_QUOTED: Final = 2000
# Lines and missing keys with a smaller share of the strongest item's weight are no evidence.
EVIDENCE_FLOOR: Final = 0.02
# Share of known lines from which a last line that is unknown and has no line end counts as cut.
MOSTLY_KNOWN: Final = 0.9
# Lines of a record in which its cause is looked for.
RECORD_LINES: Final = 3
# The text of `expected` where passing runs end.
END_OF_SOURCE: Final = "the end of the source"


def verdict_of(
    model: Model,
    sources: Mapping[str, SourceState],
    text: RunText,
    *,
    run_id: str,
    headers: Mapping[str, str],
    final: bool,
    chosen: bool = False,
) -> Verdict:
    """The verdict on all lines that the stages have seen so far. Changes no state, so it can be asked for at any time.

    `chosen`: the bundle was chosen by the lines of the run.
    """
    card = model.card
    bytes_consumed = sum(state.decoder.bytes_consumed for state in sources.values())
    sources = {name: state for name, state in sources.items() if not state.only_services}
    summaries = tuple(_summary(name, state) for name, state in sorted(sources.items()))
    sources = {name: state for name, state in sources.items() if not state.says_nothing}
    hits = model.rules.finish({name: state.rules for name, state in sources.items()})
    scores = model.classifier.scores({name: state.classify for name, state in sources.items()})
    decision = UNDECIDED
    if card.labels:
        decision = decide(scores, [_vote(hit, card.labels) for hit in hits], model.passing, card.review_below_confidence)
    silent = "" if hits else _silence(model, sources, scores)
    # A log of which the bundle knows nothing is not unlike its passing runs either.
    foreign = (bool(silent) and not any(state.detect.known_lines for state in sources.values())) or not card.detectors
    detection = Detection(0.0, 0.0, False, []) if foreign else _detection(model, sources, final)
    cuts = _cuts(model, sources) if final else ()
    doubts = [*_doubts(model, sources, summaries, silent), *cuts, *(() if silent else decision.doubts)]
    quotes = _Quotes(model, sources, text)
    followed = {name: state.procedures for name, state in sorted(sources.items()) if state.procedures}
    ues = quotes.ues(followed)
    reason = Reason("") if silent else reason_for(model, followed, decision)
    weighed = _Weighed() if silent else quotes.weighed(decision, detection, hits, reason.lines)
    why = silent or sentence(
        model, followed, decision, shown=reason.text(quotes.record(reason.lines)), evidence=weighed.evidence, ues=ues
    )
    anomalies = tuple(quotes.anomaly(finding) for finding in detection.findings[:MAX_ANOMALIES])
    return Verdict(
        run_id=run_id,
        version=verdict_version(bytes_consumed, final),
        final=final,
        label=UNKNOWN if silent else card.labels[decision.label],
        passed=not silent and decision.label == model.passing,
        confidence=0.0 if silent else decision.confidence,
        probabilities=dict(zip(card.labels, decision.probabilities.tolist(), strict=True)),
        needs_review=bool(doubts),
        review_reasons=tuple(doubts),
        cause=decision.cause,
        why=why,
        rival="" if silent else card.labels[decision.rival],
        score=0.0 if silent else decision.score,
        rest=weighed.rest,
        anomaly_score=detection.score,
        anomalous=detection.anomalous,
        anomalies=anomalies,
        anomaly_count=len(detection.findings),
        evidence=weighed.evidence,
        reduction=quotes.reduction(weighed.evidence, anomalies) if final else (),
        ues=ues,
        sources=summaries,
        headers=dict(headers),
        bundle=card.name,
        bundle_version=card.version,
        bundle_chosen=chosen,
        known_share=_known_share(sources),
    )


def _known_share(sources: Mapping[str, SourceState]) -> float:
    lines = sum(state.detect.lines for state in sources.values())
    return round(sum(state.known_lines for state in sources.values()) / lines, 4) if lines else 0.0


def _vote(hit: RuleHit, labels: Sequence[str]) -> RuleVote:
    rule = hit.rule
    return RuleVote(rule.name, labels.index(rule.label), rule.weight or 0.0, rule.veto, rule.cause)


def _detection(model: Model, sources: Mapping[str, SourceState], final: bool) -> Detection:
    order = None
    if model.next_key:
        order = model.next_key.finish({name: s.next_key for name, s in sources.items() if s.next_key}, final)
    detection = model.detector.finish({name: state.detect for name, state in sources.items()}, order)
    # A run in foreign words is unlike all passing runs, whatever happens in it.
    return detection if _matches(model, sources) else detection._replace(anomalous=False)


def _matches(model: Model, sources: Mapping[str, SourceState]) -> bool:
    """Whether enough lines match templates of the bundle; to one that does not know the run, every line is an anomaly."""
    lines = sum(state.detect.lines for state in sources.values())
    known = sum(state.detect.known_lines for state in sources.values())
    return known >= model.card.review_below_known_share * lines


def _silence(model: Model, sources: Mapping[str, SourceState], scores: NDArray[np.float64]) -> str:
    """Why nothing speaks for any label, if no rule does either."""
    if not model.card.labels:
        return f"the bundle {model.card.name} only reduces logs; it knows no labels"
    if model.general:
        return _general_silence(model.general, sources)
    return silence(
        sum(state.detect.lines for state in sources.values()),
        sum(state.fold.folded_lines for state in sources.values()),
        sum(state.detect.known_lines for state in sources.values()),
        float(np.ptp(scores - model.scores_of_nothing)),
        shown=any(
            course.steps for state in sources.values() if state.procedures for course in state.procedures.ues.values()
        ),
    )


def _general_silence(general: General, sources: Mapping[str, SourceState]) -> str:
    lines = sum(state.detect.lines for state in sources.values())
    words = sum(state.fold.folded_lines for state in sources.values())
    states = {name: state.procedures for name, state in sources.items() if state.procedures}
    return silence(lines, words, lines, np.inf) or general.silence(states, lines)


def _doubts(model: Model, sources: Mapping[str, SourceState], summaries: Sequence[SourceSummary], silent: str) -> list[str]:
    doubts = input_doubts(
        sum(state.detect.lines for state in sources.values()),
        sum(summary.known_lines for summary in summaries),
        [_named(summary, of_several=len(summaries) > 1) for summary in summaries],
        0.0 if silent else model.card.review_below_known_share,
    )
    return list(dict.fromkeys([silent, *doubts] if silent else doubts))


def _cuts(model: Model, sources: Mapping[str, SourceState]) -> list[str]:
    """Doubts whether the log is whole. While a run is open, its end is of course missing."""
    known = [name for name, state in sources.items() if state.detect.known_lines >= MOSTLY_KNOWN * state.detect.lines]
    odd_ends = {name for name in known if sources[name].detect.last_key.startswith(NEW_PREFIX)}
    absent = map(model.template, model.detector.absent({name: state.detect for name, state in sources.items()}))
    continued = [template for template in absent if _is_body(template)]
    states = {name: state.completeness for name, state in sources.items()}
    return completeness_doubts(states, odd_ends, dict.fromkeys(known, continued))


@cache
def _is_body(template: str) -> bool:
    """Whether a template of a bundle goes on with the record before it. A run that stopped early lacks hundreds of them."""
    return read_clues(template).body


def _named(summary: SourceSummary, *, of_several: bool) -> Repairs:
    """What was repaired in a source, with the name of the source before each problem if the run has several."""
    if not of_several or not summary.source:
        return summary.repairs
    problems = tuple(f"{summary.source}: {problem}" for problem in summary.repairs.problems)
    return summary.repairs.model_copy(update={"problems": problems})


def _summary(name: str, state: SourceState) -> SourceSummary:
    damage, cuts = state.decoder.damage, state.cutter.cuts
    return SourceSummary(
        source=name,
        lines=state.lines,
        bytes=state.bytes,
        encoding=state.decoder.encoding,
        known_lines=state.known_lines,
        folded_lines=state.fold.folded_lines,
        redactions=dict(sorted(state.redact.counts.items())),
        repairs=Repairs(
            invalid_bytes=damage.invalid_bytes,
            nul_bytes=damage.nul_bytes,
            damaged_lines=damage.damaged_lines,
            cut_lines=cuts.cut_lines,
            dropped_bytes=cuts.dropped_bytes,
            problems=(*state.problems, *(() if state.service else state.unwrapper.problems)),
            repeated_messages=state.repeated_messages,
            repeated_bytes=state.repeated_bytes,
            notes=tuple(state.notes),
        ),
        stripped=state.unwrapper.stripped,
    )


_Item = tuple[float, str, int, str]
"""Weight, negated so that the strongest item sorts first; source and number of a line; or the key that never came."""


def strongest(shares: Explanation) -> list[_Item]:
    """The lines and missing keys that are evidence, by weight.

    A failing run has hundreds of shares, so plain tuples are sorted, and records are made of the few that stay. Weak ones
    are left out, and so is everything if nothing speaks for the label.
    """
    items = [(-share.weight, share.source, share.number, "") for share in shares.lines]
    items += [(-weight, "", 0, key) for key, weight in shares.missing.items()]
    first = nsmallest(MAX_EVIDENCE, items)
    return [item for item in first if -item[0] > EVIDENCE_FLOOR * -first[0][0]]


class _Weighed(NamedTuple):
    """What decided for the label; the weights add up to the score of the label against its rival."""

    evidence: tuple[Evidence, ...] = ()
    rest: tuple[Share, ...] = ()


class _Quotes:
    """Records of a verdict that quote lines of the run."""

    def __init__(self, model: Model, sources: Mapping[str, SourceState], text: RunText) -> None:
        self._model = model
        self._sources = sources
        self._text = text
        self._speaking: list[Mark] = []
        """Lines that speak for the label, more of them than are evidence."""

    def record(self, lines: Sequence[tuple[str, int]]) -> list[str]:
        """The record of the first of these lines, as far as its cause may be in it."""
        if not lines or self._model.procedures is None:
            return []
        (source, number), signal = lines[0], self._model.procedures.signal
        read = self._text.read(source, number, number + RECORD_LINES - 1)
        first, *others = map(self._sources[source].unwrapper.shown_body, read)

        def continues(line: str) -> bool:
            found = signal(mask(line))
            return found is None or (found.dialect < 0 and not found.heard)

        return [first, *takewhile(continues, others)]

    def weighed(
        self,
        decision: Decision,
        detection: Detection,
        hits: Sequence[RuleHit],
        leading: Sequence[tuple[str, int]],
    ) -> _Weighed:
        """Rules that matched, the lines where the run broke, then lines and missing keys by weight; weak ones are left out.

        The line that weighs most is often the loudest consequence: people look for the cause first.
        """
        missing = [finding.key for finding in detection.findings if finding.kind == "missing"]
        states = {name: state.classify for name, state in self._sources.items()}
        shares = self._model.classifier.explain(states, decision.label, decision.rival, missing)
        self._speaking = [
            Mark(share.source, share.number, "relevant")
            for share in nlargest(MAX_SPEAKING, shares.lines, key=lambda share: share.weight)
            if share.weight > 0
        ]
        rules = (self._rule_evidence(hit, decision) for hit in hits if self._is_evidence(hit.rule, decision))
        weights = {(share.source, share.number): share.weight for share in shares.lines}
        first: list[_Item] = [(-weights.get(line, 0.0), *line, "") for line in leading]
        others = [item for item in strongest(shares) if (item[1], item[2]) not in leading or item[3]]
        items = [*first, *others][:MAX_EVIDENCE]
        parts = parts_of(shares, [item[1:] for item in items])
        return _Weighed((*rules, *self._weighed_evidence(items, parts)), rest_of(shares, parts))

    def _weighed_evidence(self, items: Sequence[_Item], parts: Mapping[Item, tuple[Share, ...]]) -> Iterator[Evidence]:
        lines = {(source, number): self._line(source, number) for _, source, number, key in items if not key}
        bodies = [self._sources[source].unwrapper.shown_body(line) for (source, _), line in lines.items()]
        keys = dict(zip(lines, self._model.line_keys(bodies), strict=True))
        for minus_weight, source, number, key in items:
            if key:
                text = self._model.template(key)
                yield Evidence(kind="missing", weight=-minus_weight, parts=parts["", 0, key], key=key, text=text)
            else:
                line = source, number
                yield Evidence(
                    kind="line",
                    weight=-minus_weight,
                    parts=parts[source, number, ""],
                    source=source,
                    number=number,
                    text=_quoted(lines[line]),
                    key=keys[line],
                )

    def _is_evidence(self, rule: HandRule, decision: Decision) -> bool:
        """A rule that only states a cause is evidence if the verdict has its label or takes its cause."""
        states_cause = decision.cause_from is not None and decision.cause_from.name == rule.name
        return rule.decides or states_cause or rule.label == self._model.card.labels[decision.label]

    def _rule_evidence(self, hit: RuleHit, decision: Decision) -> Evidence:
        rule = hit.rule
        # What the rule adds to the log-odds of the label against its rival. A veto outweighs all and adds nothing.
        index = self._model.card.labels.index(rule.label)
        weight = (rule.weight or 0.0) * ((index == decision.label) - (index == decision.rival))
        return Evidence(
            kind="rule",
            weight=weight,
            source=hit.source,
            number=hit.number,
            text=_quoted(self._line(hit.source, hit.number)),
            rule=rule.name,
            label=rule.label if rule.decides or index == decision.label else "",
            note=rule.note,
        )

    def anomaly(self, finding: Finding) -> Anomaly:
        """The record of one finding."""
        return Anomaly(
            kind=finding.kind,
            score=finding.score,
            source=finding.source,
            number=finding.number,
            key=finding.key,
            text=_quoted(self._line(finding.source, finding.number)) if finding.number else "",
            rank=finding.rank,
            expected_keys=finding.expected,
            **self._count_and_expected(finding),
        )

    def _count_and_expected(self, finding: Finding) -> dict[str, Any]:
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

    def reduction(self, evidence: Iterable[Evidence], anomalies: Iterable[Anomaly]) -> tuple[ReducedLine, ...]:
        """The lines worth reading, in the order of source and number. Reads the text of the run once more."""
        if self._model.budget.lines == 0:
            return ()
        logs = self._model.reducer.score(self._text, self._sources)
        chosen = self._model.reducer.reduce(logs, self._marks(evidence, anomalies), self._model.budget).lines
        return tuple(
            ReducedLine(
                source=line.source,
                number=line.number,
                text=_quoted(self._line(line.source, line.number)),
                why=line.why,
                repeats=line.repeats,
                rank=rank,
            )
            for rank, line in sorted(enumerate(chosen, 1), key=lambda ranked: ranked[1][:2])
        )

    def _marks(self, evidence: Iterable[Evidence], anomalies: Iterable[Anomaly]) -> list[Mark]:
        """What the stages know about single lines."""
        marks = [
            Mark(item.source, item.number, "rule" if item.kind == "rule" else "evidence")
            for item in evidence
            if item.number is not None
        ]
        marks += self._course()
        if self._model.card.detectors and _matches(self._model, self._sources):
            marks += [Mark(a.source, a.number, "anomaly", a.count) for a in anomalies if a.number is not None]
            marks += self._speaking
            for name, state in sorted(self._sources.items()):
                marks += [Mark(name, at, "rare", n) for key, at, n in self._first_lines(state) if self._model.is_rare(key)]
        return marks

    def _course(self) -> Iterator[Mark]:
        """The lines that tell what became of the procedures of each UE."""
        if self._model.procedures:
            for name, state in sorted(self._sources.items()):
                if state.procedures:
                    lines = telling_lines(self._model.procedures.follower, state.procedures)
                    yield from (Mark(name, line, "procedure") for line in lines[:MAX_TELLING])

    def _first_lines(self, state: SourceState) -> Iterable[tuple[str, int, int]]:
        """Key, first line and count of every distinct template of a source, in the order of their first lines."""
        first, counts = state.detect.first_lines, state.detect.counts
        known = [(self._model.templates.keys[i], int(first[i]), int(counts[i])) for i in first.nonzero()[0].tolist()]
        new = [(key, number, count) for key, (number, count) in state.detect.new_keys.items()]
        return sorted(known + new, key=lambda item: item[1])

    def ues(self, states: Mapping[str, ProcedureState]) -> Ues | None:
        """A UE that several sources name is one UE; it failed if it did in any of them."""
        seen = {ue for state in states.values() for ue in state.ues}
        if not seen:
            return None
        follower = self._model.procedures.follower if self._model.procedures else None
        failed = [(outcome, name) for name, state in states.items() if follower for outcome in failed_ues(follower, state)]
        failed.sort(key=lambda one: (ue_order(one[0].ue), one[1]))
        first = [
            FailedUe(
                ue=_ue_number(outcome.ue),
                name=outcome.ue if not outcome.ue.isdigit() else "",
                reason=outcome.reason.removeprefix("{who} ").format(who="the UE"),
                source=name,
                number=outcome.line,
                text=_quoted(self._line(name, outcome.line)),
            )
            for outcome, name in failed[:MAX_FAILED_UES]
        ]
        return Ues(
            seen=len(seen | {outcome.ue for outcome, _ in failed}),
            failed=len({outcome.ue for outcome, _ in failed}),
            first=tuple(first),
        )

    def _line(self, source: str, number: int) -> str:
        return self._text.read(source, number, number)[0]


def _ue_number(ue: str) -> int:
    """The number of a UE; of an RNTI its value, and -1 for a UE whose log does not name it."""
    kind, _, name = ue.rpartition(" ")
    try:
        return int(name, 16 if kind == "rnti" else 10)
    except ValueError:
        return -1


def _quoted(line: str) -> str:
    return cut(line, MAX_QUOTED)
