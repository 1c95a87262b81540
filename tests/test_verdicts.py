"""What a verdict shows of a run: evidence, its limits, and the lines that are quoted."""

from stream_triage import Triage
from stream_triage.records import Explanation, LineShare
from stream_triage.verdicts import EVIDENCE_FLOOR, MAX_EVIDENCE, strongest
from tests.corpus import make_run


def shares_of(*weights: float, **missing: float) -> Explanation:
    return Explanation([LineShare("ue", number, weight) for number, weight in enumerate(weights, 1)], missing, 0.0)


def kept(shares: Explanation) -> list[tuple[float, int | str]]:
    """Weight, and the line or the key, of each item that is evidence."""
    return [(-minus_weight, key or number) for minus_weight, _, number, key in strongest(shares)]


def test_the_strongest_comes_first():
    """Lines and missing keys together, by weight."""
    assert kept(shares_of(0.5, 2.0, key=1.0)) == [(2.0, 2), (1.0, "key"), (0.5, 1)]


def test_equal_weights_are_in_the_order_of_the_log():
    assert kept(shares_of(1.0, 1.0, 1.0)) == [(1.0, 1), (1.0, 2), (1.0, 3)]


def test_weak_shares_are_no_evidence():
    """Up to 2 % of the strongest, whatever that weighs; what speaks against the label is none either."""
    assert EVIDENCE_FLOOR == 0.02
    assert kept(shares_of(100.0, 2.01, 2.0, 1.99, -5.0, key=2.0)) == [(100.0, 1), (2.01, 2)]
    assert kept(shares_of(1e-3, 2.1e-5, 1.9e-5)) == [(1e-3, 1), (2.1e-5, 2)]


def test_nothing_is_evidence_where_nothing_speaks_for_the_label():
    assert kept(shares_of(-0.001, -1.0, 0.0, key=-0.5)) == []
    assert kept(shares_of()) == []


def test_evidence_is_bounded():
    assert kept(shares_of(*[1.0] * 50)) == [(1.0, number) for number in range(1, MAX_EVIDENCE + 1)]


def test_a_verdict_shows_no_weak_evidence(triage: Triage):
    """The run has lines with small shares; its verdict leaves them out, and keeps those that are strong enough."""
    session = triage.session("r")
    for source, data in make_run("L3", 1000).sources.items():
        session.feed(data, source)
    verdict = session.close()
    model = session.model
    states = {name: state.classify for name, state in session.sources.items()}
    label = model.card.labels.index(verdict.label)
    missing = [anomaly.key for anomaly in verdict.anomalies if anomaly.kind == "missing"]
    shares = model.classifier.explain(states, label, model.passing, missing)
    weights = [*(share.weight for share in shares.lines), *shares.missing.values()]
    floor = EVIDENCE_FLOOR * max(weights)
    assert any(0 < weight <= floor for weight in weights)
    assert sorted(item.weight for item in verdict.evidence) == sorted(weight for weight in weights if weight > floor)
