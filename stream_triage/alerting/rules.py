"""A verdict in; the team that owns it, the alerts it causes and the message about them out. Stores and sends nothing.

Two failures are similar if rule, team, label and cause are the same, and so is most of what shows them: keys of evidence and
anomalies. A hundred runs that fail for the same reason then make one message. docs/alerts.md describes the rules.
"""

from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from math import comb
from typing import Final, NamedTuple

from stream_triage.records import CANARY, Evidence, Verdict, cut
from stream_triage.render.printable import printable, without_colours
from stream_triage.settings import AlertRule, Route

__all__ = ["Alert", "History", "Message", "Outcomes", "alerts_of", "keys_of", "message", "similar", "team_of"]

SIMILAR: Final = 0.6
# What of a verdict makes its signature: weak evidence differs between runs that fail for the same reason. The failing runs
# among 390 of the invented corpus (seed 7) make 93 groups; 89 % of them have the cause of the first run of their group.
SIGNATURE_EVIDENCE: Final = 8
SIGNATURE_ANOMALIES: Final = 4
SIGNATURE_SHARE: Final = 0.2
# Rule `failure_rate` compares so many runs of the test case with those before them.
RECENT_RUNS: Final = 10
MIN_EARLIER_RUNS: Final = 20
RARE: Final = 0.001
EVIDENCE_SHOWN: Final = 5
CHARACTERS_SHOWN: Final = 300


class Outcomes(NamedTuple):
    """How some runs of one test case ended."""

    runs: int
    failed: int


class History(NamedTuple):
    """What was known before a verdict."""

    unseen_keys: frozenset[str] = frozenset()
    """Keys of templates that neither the bundle nor an earlier run has."""
    recent: Outcomes = Outcomes(0, 0)
    """The last runs of the test case, this one included."""
    earlier: Outcomes = Outcomes(0, 0)
    """The runs before those."""


class Alert(NamedTuple):
    """A rule that fires for a verdict, and why."""

    rule: AlertRule
    reason: str


class Message(NamedTuple):
    """Plain text that is safe to show: no control characters, and nothing that mentions people or opens markup."""

    title: str
    body: str


def team_of(routes: Sequence[Route], verdict: Verdict) -> str | None:
    """Returns the team of the first route that matches; None for a clean pass, which nobody has to look at.

    A verdict that needs a review goes to routes with `needs_review` alone: its label is a guess, and the team of that layer
    has no failure yet.
    """
    if verdict.clean:
        return None
    case, testbed = verdict.headers.get("test.case.name", ""), verdict.headers.get("testbed", "")
    for route in routes:
        fields = (
            (verdict.label, route.label),
            (verdict.cause or "", route.cause),
            (testbed, route.testbed),
            (case, route.test_case),
        )
        if route.needs_review == verdict.needs_review and all(fnmatchcase(value, pattern) for value, pattern in fields):
            return route.team
    return None


def alerts_of(verdict: Verdict, history: History, rules: Collection[AlertRule]) -> list[Alert]:
    """Returns an alert for each of `rules` that fires; none for a canary run."""
    if verdict.headers.get("test.case.name") == CANARY:
        return []
    return [alert for alert in _alerts(verdict, history) if alert.rule in rules]


def _alerts(verdict: Verdict, history: History) -> Iterator[Alert]:
    if verdict.needs_review:
        yield Alert("review", "; ".join(verdict.review_reasons))
        return
    if not verdict.passed:
        yield Alert("failed", f"label {verdict.label} with confidence {verdict.confidence:.2f}")
    elif verdict.anomalous:
        yield Alert("anomalous", f"passed with anomaly score {verdict.anomaly_score:.2f}; the threshold is 0.5")
    if verdict.disagreement:
        status = verdict.headers["test.case.result.status"].strip().lower()
        yield Alert("disagreement", f"the harness reports {printable(status)}, the verdict is {verdict.label}")
    if history.unseen_keys:
        count = len(history.unseen_keys)
        yield Alert("new_template", f"{count} kind{'s' if count > 1 else ''} of line that no run had before")
    chance = _chance(history)
    if not verdict.passed and chance < RARE:
        recent, earlier = history.recent, history.earlier
        yield Alert(
            "failure_rate",
            f"{recent.failed} of the last {recent.runs} runs of this test case failed, {earlier.failed} of {earlier.runs} "
            f"before them (by chance: {chance:.1g})",
        )


def _chance(history: History) -> float:
    """Returns the probability of at least as many recent failures, if runs failed as often as before (binomial)."""
    recent, earlier = history.recent, history.earlier
    if recent.runs < RECENT_RUNS or earlier.runs < MIN_EARLIER_RUNS:
        return 1.0
    usual = (earlier.failed + 1) / (earlier.runs + 2)  # the rule of succession: no rate is taken for exactly 0
    ways = ((k, comb(recent.runs, k)) for k in range(recent.failed, recent.runs + 1))
    return sum(count * usual**k * (1 - usual) ** (recent.runs - k) for k, count in ways)


def keys_of(verdict: Verdict) -> frozenset[str]:
    """Returns the signature of a failure: keys of what shows it, without what differs from run to run."""
    strongest = max((item.weight for item in verdict.evidence), default=0.0)
    keys = [
        _key(item)
        for item in verdict.evidence[:SIGNATURE_EVIDENCE]
        if item.kind == "rule" or item.weight >= SIGNATURE_SHARE * strongest
    ]
    keys += [f"{anomaly.kind} {anomaly.key}" for anomaly in verdict.anomalies[:SIGNATURE_ANOMALIES] if anomaly.key]
    return frozenset(keys)


def _key(item: Evidence) -> str:
    if item.kind == "rule":
        return f"rule {item.rule}"
    # Lines have no key in verdicts that an older release stored; their text still keeps different failures apart.
    return item.key or item.text


def similar(one: Collection[str], other: Collection[str]) -> bool:
    """Returns whether 60 % of all keys are common to both signatures; two empty ones are similar.

    >>> similar({"a", "b", "c", "d"}, {"a", "b", "c", "e"}), similar({"a", "b"}, {"a"}), similar((), ())
    (True, False, True)
    """
    union = set(one) | set(other)
    return not union or len(set(one) & set(other)) >= SIMILAR * len(union)


def message(verdict: Verdict, alert: Alert, runs: int, link: str = "") -> Message:
    """Returns the message about a group of `runs` similar failures.

    Args:
        verdict: The verdict of the first run of the group.
        alert: The alert of that run.
        runs: How many runs the group has.
        link: The address of the run for people, the last line of the message.
    """
    case = verdict.headers.get("test.case.name") or verdict.run_id
    count = f"{runs} runs, first " if runs > 1 else ""
    cause = f", cause {verdict.cause}" if verdict.cause else ""
    label = f"{verdict.label} (needs a review)" if verdict.needs_review else verdict.label
    lines = [verdict.why] if verdict.why else []
    lines += [
        f"label {label}, confidence {verdict.confidence:.2f}{cause}; anomaly score {verdict.anomaly_score:.2f}",
        f"rule {alert.rule}: {alert.reason}",
        f"run {verdict.run_id}",
    ]
    lines += [
        f"{name} {verdict.headers[header]}"
        for name, header in (("test case", "test.case.name"), ("test bed", "testbed"), ("build", "service.version"))
        if verdict.headers.get(header)
    ]
    if verdict.ues and verdict.ues.failed:
        lines.append(verdict.ues.words())
    # Lines before missing ones, as on the page of the run: they say more at a glance.
    for item in sorted(verdict.evidence, key=lambda item: item.kind == "missing")[:EVIDENCE_SHOWN]:
        lines.append(f"  {item.words()}")
    if link:
        lines.append(link)
    title = "review" if verdict.needs_review else verdict.label
    return Message(_safe(f"{title}: {count}{case}"), "\n".join(map(_safe, lines)))


def _safe(text: str) -> str:
    """Returns one line that no chat or mail client takes for more than text: a word joiner breaks mentions and tags."""
    text = cut(without_colours(text).replace("\t", " "), CHARACTERS_SHOWN)
    return text.replace("@", "@\u2060").replace("<", "<\u2060")
