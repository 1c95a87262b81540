"""A verdict in; who owns it, which alerts it makes and what is to be said of it out. Nothing is kept or sent here.

Two failures are alike when rule, team, label and cause are the same and half of what shows them is (evidence and anomaly
keys, Jaccard index): a hundred runs that fail alike then make one message. docs/alerts.md describes the rules.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from math import comb
from typing import Final, NamedTuple

from stream_triage.records import CANARY, Verdict
from stream_triage.render.printable import printable
from stream_triage.settings import AlertRule, Route
from stream_triage.stages.normalise import mask

__all__ = ["Alert", "History", "Message", "Outcomes", "alerts_of", "alike", "keys_of", "message", "team_of"]

ALIKE: Final = 0.5
# What of a verdict makes its signature: weak evidence differs between runs that fail alike. Of 124 failing runs of the
# invented corpus (seed 7; 60 causes, four wordings each) these make 86 groups, 79 % of the runs in one of their own cause.
SIGNATURE_EVIDENCE: Final = 8
SIGNATURE_ANOMALIES: Final = 4
SIGNATURE_SHARE: Final = 0.2
# Rule `failure_rate`: so many runs of the test case are held against those before them.
RECENT_RUNS: Final = 10
MIN_EARLIER_RUNS: Final = 20
RARE: Final = 0.001
EVIDENCE_SHOWN: Final = 5
CHARACTERS_SHOWN: Final = 300


class Outcomes(NamedTuple):
    """Of some runs of one test case."""

    runs: int
    failed: int


class History(NamedTuple):
    """What was before a verdict: which of its new keys nobody has seen, and how its test case did."""

    unseen_keys: frozenset[str] = frozenset()
    recent: Outcomes = Outcomes(0, 0)
    """The last runs, this one among them."""
    earlier: Outcomes = Outcomes(0, 0)
    """Those before."""


class Alert(NamedTuple):
    rule: AlertRule
    reason: str


class Message(NamedTuple):
    """Plain text, safe to show: no control characters, and nothing that calls people or opens markup."""

    title: str
    body: str


def team_of(routes: Sequence[Route], verdict: Verdict) -> str | None:
    """The team of the first route that fits; none for a clean pass, which nobody has to look at."""
    if verdict.clean:
        return None
    headers = verdict.headers
    for route in routes:
        told = (
            (verdict.label, route.label),
            (verdict.cause or "", route.cause),
            (headers.get("testbed", ""), route.testbed),
            (headers.get("test.case.name", ""), route.test_case),
        )
        if all(fnmatchcase(value, pattern) for value, pattern in told):
            return route.team
    return None


def alerts_of(verdict: Verdict, history: History, rules: Collection[AlertRule]) -> list[Alert]:
    """Those of `rules` that speak, each with its reason; none of a canary run."""
    if verdict.headers.get("test.case.name") == CANARY:
        return []
    return [alert for alert in _alerts(verdict, history) if alert.rule in rules]


def _alerts(verdict: Verdict, history: History) -> Iterator[Alert]:
    if not verdict.passed:
        yield Alert("failed", f"label {verdict.label} at confidence {verdict.confidence:.2f}")
    elif verdict.anomalous:
        yield Alert("anomalous", f"passed with anomaly score {verdict.anomaly_score:.2f}, where 0.5 is the threshold")
    if verdict.disagreement:
        said = verdict.headers["test.case.result.status"].strip().lower()
        yield Alert("disagreement", f"the harness says {printable(said)}, the verdict {verdict.label}")
    if history.unseen_keys:
        count = len(history.unseen_keys)
        yield Alert("new_template", f"{count} kind{'s' if count > 1 else ''} of line that no run had before")
    chance = _chance(history)
    if not verdict.passed and chance < RARE:
        recent, earlier = history.recent, history.earlier
        yield Alert(
            "failure_rate",
            f"{recent.failed} of the last {recent.runs} runs of this test case failed, {earlier.failed} of {earlier.runs} "
            f"before them (chance {chance:.1g})",
        )


def _chance(history: History) -> float:
    """Of as many failures as the recent runs have or more, if they failed as often as those before (binomial)."""
    recent, earlier = history.recent, history.earlier
    if recent.runs < RECENT_RUNS or earlier.runs < MIN_EARLIER_RUNS:
        return 1.0
    usual = (earlier.failed + 1) / (earlier.runs + 2)  # the rule of succession: a rate of 0 was never seen
    ways = ((k, comb(recent.runs, k)) for k in range(recent.failed, recent.runs + 1))
    return sum(count * usual**k * (1 - usual) ** (recent.runs - k) for k, count in ways)


def keys_of(verdict: Verdict) -> frozenset[str]:
    """What shows the failure, without what differs from run to run: its signature."""
    keys = []
    strongest = max((item.weight for item in verdict.evidence), default=0.0)
    for item in verdict.evidence[:SIGNATURE_EVIDENCE]:
        if item.kind != "rule" and item.weight < SIGNATURE_SHARE * strongest:
            continue
        if item.kind == "line":
            keys.append(hashlib.sha256(mask(item.text, "removed").encode()).hexdigest()[:16])
        else:
            keys.append(item.key or f"rule {item.rule}")
    keys += [f"{anomaly.kind} {anomaly.key}" for anomaly in verdict.anomalies[:SIGNATURE_ANOMALIES] if anomaly.key]
    return frozenset(keys)


def alike(one: Collection[str], other: Collection[str]) -> bool:
    """Half of the keys of both together are in both; two failures without any are alike.

    >>> alike({"a", "b"}, {"a", "b", "c"}), alike({"a"}, {"b"}), alike((), ())
    (True, False, True)
    """
    union = set(one) | set(other)
    return not union or len(set(one) & set(other)) >= ALIKE * len(union)


def message(verdict: Verdict, rule: AlertRule, reason: str, runs: int, link: str = "") -> Message:
    """What a team is told of `runs` runs that are alike; `verdict` is that of the first."""
    case = verdict.headers.get("test.case.name") or verdict.run_id
    count = f"{runs} runs, first " if runs > 1 else ""
    cause = f", cause {verdict.cause}" if verdict.cause else ""
    lines = [
        f"label {verdict.label}, confidence {verdict.confidence:.2f}{cause}; anomaly score {verdict.anomaly_score:.2f}",
        f"rule {rule}: {reason}",
        f"run {verdict.run_id}",
    ]
    lines += [
        f"{name} {verdict.headers[header]}"
        for name, header in (("test case", "test.case.name"), ("test bed", "testbed"), ("build", "service.version"))
        if verdict.headers.get(header)
    ]
    if verdict.ues and verdict.ues.failed:
        lines.append(f"{verdict.ues.failed} of {verdict.ues.seen} UEs failed")
    # Lines first, as the page of the run has them: what never came says less to someone who only glances.
    for item in sorted(verdict.evidence, key=lambda item: item.kind == "missing")[:EVIDENCE_SHOWN]:
        lines.append(f"  {item.words()}")
    if link:
        lines.append(link)
    return Message(_shown(f"{verdict.label}: {count}{case}"), "\n".join(map(_shown, lines)))


def _shown(text: str) -> str:
    """One line that no chat or mail reads as more than text: a mention or a tag is parted by a word joiner."""
    text = printable(text).replace("\t", " ")
    if len(text) > CHARACTERS_SHOWN:
        text = text[:CHARACTERS_SHOWN] + "…"
    return text.replace("@", "@\u2060").replace("<", "<\u2060")
