"""What a verdict shows of a run: evidence, its limits, and the lines that are quoted."""

import pytest

from stream_triage import Bundle, Triage, Verdict, find_bundle
from stream_triage.records import Explanation, LineShare
from stream_triage.verdicts import EVIDENCE_FLOOR, MAX_ANOMALIES, MAX_EVIDENCE, MAX_FAILED_UES, MAX_QUOTED, strongest
from tests.corpus import make_run, tiny_bundle


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


@pytest.mark.parametrize(("length", "quoted"), [(MAX_QUOTED, "x" * MAX_QUOTED), (MAX_QUOTED + 1, "x" * MAX_QUOTED + "…")])
def test_long_lines_are_cut_where_they_are_quoted(triage: Triage, length: int, quoted: str):
    """In anomalies and in the lines worth reading; a line of the limit is whole."""
    verdict = triage.run("uesim starting\n" + "x" * length + "\n")
    assert quoted in [anomaly.text for anomaly in verdict.anomalies if anomaly.number == 2]
    assert quoted in [line.text for line in verdict.reduction if line.number == 2]


def test_anomalies_are_bounded_and_counted(triage: Triage):
    """The strongest ones are shown, all of them are counted."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    verdict = triage.run("uesim starting\n" + "".join(f"alien {a}{b} message\n" for a in letters for b in letters[:4]))
    assert len(verdict.anomalies) == MAX_ANOMALIES
    assert verdict.anomaly_count > 4 * 26
    scores = [anomaly.score for anomaly in verdict.anomalies]
    assert scores == sorted(scores, reverse=True)


def run_of(triage: Triage, seed: int, **more: bytes) -> Verdict:
    """A passing run, with more text at the end of its sources."""
    session = triage.session("r")
    for source, data in make_run("Pass", seed).sources.items():
        session.feed(data + more.get(source, b""), source)
    return session.close()


def test_anomalies_say_what_passing_runs_show_instead(triage: Triage):
    """In words: how long they are, how their sources end; a new line repeated is one anomaly with its count."""
    verdict = run_of(triage, 1, ue=b"alien message\n" * 40)
    by_kind = {anomaly.kind: anomaly for anomaly in verdict.anomalies}
    profile = triage.models["tiny"].detector.profile
    lines = sum(summary.lines for summary in verdict.sources)
    assert set(by_kind) == {"new", "length", "end"}
    assert by_kind["length"].expected == f"{profile.lines_low} to {profile.lines_high} lines with text"
    assert (by_kind["length"].count, by_kind["length"].number, by_kind["length"].text) == (lines, None, "")
    assert by_kind["end"].expected == "a last line as passing runs have it"
    assert (by_kind["end"].count, by_kind["end"].text, by_kind["end"].source) == (1, "alien message", "ue")
    assert (by_kind["new"].count, by_kind["new"].expected, by_kind["new"].text) == (40, "", "alien message")


def test_a_missing_line_has_no_count_and_no_number(triage: Triage):
    session = triage.session("r")
    session.feed(make_run("Pass", 1).sources["ue"].replace(b"session up\n", b""), "ue")
    missing = [anomaly for anomaly in session.close().anomalies if anomaly.kind == "missing"]
    assert {(anomaly.count, anomaly.number, anomaly.text) for anomaly in missing} == {(0, None, "")}
    assert "session up" in {anomaly.expected for anomaly in missing}


def test_the_reduction_marks_each_line_with_its_reason(triage: Triage):
    """Evidence first, then anomalies; other lines are there for their template, counted in their source."""
    verdict = run_of(triage, 1, gnb=b"alien message\n" * 3)
    why = {(line.source, line.number): (line.why, line.repeats) for line in verdict.reduction}
    evidence = {(item.source, item.number) for item in verdict.evidence if item.kind == "line"}
    assert evidence
    assert all(why[line][0] == "evidence" for line in evidence)
    new = next(anomaly for anomaly in verdict.anomalies if anomaly.kind == "new")
    assert why[new.source, new.number] == ("anomaly", 3)
    summaries = {summary.source: summary for summary in verdict.sources}
    assert all(line.number <= summaries[line.source].lines for line in verdict.reduction)


ACTIVATION = "13/02/25 00:43:36:616\tforw mte Activate -1\n"


def unregistered(ue: int) -> str:
    """A UE that connects and never registers."""
    return f"13/02/25 00:43:37:000\tI: CMPI MTE 0 NR CONNECTION IND:UE Id:{ue}\n"


@pytest.fixture(scope="module")
def tm500() -> Triage:
    return Triage(Bundle.open(find_bundle("tm500")))


def test_the_reduction_has_the_first_line_of_each_template(triage: Triage):
    """Also of those that nothing else marks; of more templates than there is room for, the first ones of the log."""
    letters = "zyxwvutsrqponmlkjihgfedcba"
    templates = [f"alien {a}{b} message" for a in letters for b in letters[:10]]
    lines = [line for number, line in enumerate(templates) for _ in range(1 + number % 3)]
    verdict = Triage(tiny_bundle(), reduction_lines=100).run("\n".join(lines) + "\n")
    rare = [line for line in verdict.reduction if line.why == "rare"]
    marked = {line.number for line in verdict.reduction} - {line.number for line in rare}
    expected = [lines.index(line) + 1 for line in templates if lines.index(line) + 1 not in marked]
    assert [line.number for line in rare] == expected[: len(rare)]
    assert [line.repeats for line in rare] == [lines.count(line.text) for line in rare]
    assert len(verdict.reduction) == 100


def test_a_ue_of_several_sources_counts_once(tm500: Triage):
    """Failed in either source is failed; each source that shows it is listed with its line."""
    session = tm500.session("r")
    for source, ues in (("a", (1, 2)), ("b", (2, 3))):
        session.feed((ACTIVATION + "".join(map(unregistered, ues))).encode(), source)
    ues = session.close().ues
    assert ues
    assert (ues.seen, ues.failed) == (3, 3)
    listed = [(failed.ue, failed.source, failed.number) for failed in ues.first]
    assert listed == [(1, "a", 2), (2, "a", 3), (2, "b", 2), (3, "b", 3)]
    assert {failed.reason for failed in ues.first} == {"connected, but never registered"}
    assert ues.first[0].text.endswith("NR CONNECTION IND:UE Id:1")


def test_the_list_of_failed_ues_is_bounded(tm500: Triage):
    """The first ones are listed, all are counted."""
    ues = tm500.run(ACTIVATION + "".join(unregistered(ue) for ue in range(60))).ues
    assert ues
    assert (ues.seen, ues.failed, len(ues.first)) == (60, 60, MAX_FAILED_UES)


def test_runs_without_ues_have_no_list_of_them(tm500: Triage, triage: Triage):
    """Neither a log that names none, nor a bundle that follows none."""
    assert tm500.run("13/02/25 00:43:36:616\tRSET\n").ues is None
    assert triage.run(ACTIVATION + unregistered(1)).ues is None
