"""The pipeline as a whole, memory to memory."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.stopwatch import kept_bytes
from stream_triage import Bundle, BundleError, Evidence, SettingsError, Triage, Verdict, find_bundle
from stream_triage.pipeline import Session
from stream_triage.stages.redact import Redactor
from stream_triage.stages.rules import RULES_NAME, HandRule, Rules
from tests.corpus import make_run, tiny_bundle
from tests.verdicts import assert_same

SAMPLES = Path(__file__).parent.parent / "samples" / "oai5g"

FAILING = make_run("L3", 1000)
PASSING = make_run("Pass", 1001)


@pytest.fixture(scope="module")
def shipped_triage(shipped: Bundle) -> Triage:
    return Triage(shipped)


def judge(triage: Triage, sources: dict[str, bytes], run_id: str = "r") -> Verdict:
    session = triage.session(run_id)
    for source, data in sources.items():
        session.feed(data, source)
    return session.close()


@pytest.mark.parametrize("label", ["Pass", "L2", "L3"])
def test_unseen_run_gets_its_label(triage: Triage, label: str) -> None:
    """Runs that were not trained on get the label of their failure, with confidence."""
    for seed in range(2000, 2010):
        verdict = judge(triage, dict(make_run(label, seed).sources))
        assert (verdict.label, verdict.passed) == (label, label == "Pass")
        assert verdict.confidence > 0.5
        assert not verdict.needs_review


def test_evidence_quotes_the_deciding_line(triage: Triage) -> None:
    """The strongest line is the one with the failure, quoted with its number; the missing success is named."""
    verdict = judge(triage, dict(FAILING.sources))
    top = next(item for item in verdict.evidence if item.kind == "line")
    assert top.source == "ue"
    assert "registration reject cause" in top.text
    assert top.number is not None
    assert FAILING.sources["ue"].decode().split("\n")[top.number - 1] == top.text
    assert "session up" in {item.text for item in verdict.evidence if item.kind == "missing"}


def test_anomalies_say_what_is_new_and_what_is_missing(triage: Triage) -> None:
    verdict = judge(triage, dict(FAILING.sources))
    assert verdict.anomalous
    assert any(a.kind == "new" and "reject" in a.text for a in verdict.anomalies)
    assert any(a.kind == "missing" and a.expected == "session up" for a in verdict.anomalies)
    assert any(a.kind == "end" and a.source == "ue" for a in verdict.anomalies)


def test_passing_run_is_clean(triage: Triage) -> None:
    verdict = judge(triage, dict(PASSING.sources))
    assert verdict.clean
    assert verdict.anomalies == ()


HOSTILE = [
    b"\xff\xfe",
    b"\x00",
    b"\r",
    b"\r\n",
    b"\n\n",
    "\u2028 é ü ␀".encode(),
    b"-----BEGIN PRIVATE KEY-----\n",
    b"x" * 700,
]


@st.composite
def cut_and_interleaved(draw: st.DrawFn) -> tuple[dict[str, bytes], list[tuple[str, int]]]:
    """Texts of two sources with dirt in them, and a way to deliver them: (source, number of bytes) steps."""
    run = make_run(draw(st.sampled_from(["Pass", "L2", "L3"])), draw(st.integers(0, 10_000)))
    texts = {}
    for source, data in run.sources.items():
        text = bytearray(data)
        for dirt in draw(st.lists(st.sampled_from(HOSTILE), max_size=3)):
            position = draw(st.integers(0, len(text)))
            text[position:position] = dirt
        texts[source] = bytes(text)
    steps = draw(st.lists(st.tuples(st.sampled_from(sorted(texts)), st.sampled_from([1, 2, 3, 7, 40, 500])), max_size=80))
    return texts, steps


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(delivery=cut_and_interleaved(), advance_every=st.integers(1, 9))
def test_cutting_and_interleaving_change_nothing(
    delivery: tuple[dict[str, bytes], list[tuple[str, int]]], advance_every: int
) -> None:
    """However the bytes are cut, the sources interleaved and the models advanced, the verdict is the same to the byte."""
    triage = Triage(tiny_bundle(), line_bytes=512)
    whole = judge(triage, delivery[0])
    assert delivered(triage, *delivery, advance_every).model_dump_json() == whole.model_dump_json()


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    delivery=cut_and_interleaved(), advance_every=st.integers(1, 9), case=st.sampled_from(["attach-pass", "prach-assert"])
)
def test_networks_see_no_cuts_either(
    shipped_triage: Triage, delivery: tuple[dict[str, bytes], list[tuple[str, int]]], advance_every: int, case: str
) -> None:
    """With the shipped networks: windows of several sources together or alone, in whatever pieces, give the same verdict."""
    texts, steps = delivery
    samples = {file.stem: file.read_bytes() for file in sorted((SAMPLES / case).glob("*.log"))}
    texts = {"gnb": samples["du"] + texts["gnb"], "ue": samples["ue"] + texts["ue"]}
    steps = [(source, size * 40) for source, size in steps]
    whole = judge(shipped_triage, texts)
    assert_same(delivered(shipped_triage, texts, steps, advance_every), whole)


def delivered(triage: Triage, texts: dict[str, bytes], steps: list[tuple[str, int]], advance_every: int) -> Verdict:
    """The verdict on the texts, delivered in these steps and the rest at the end, the models advanced in between."""
    session, given_bytes = triage.session("r"), dict.fromkeys(texts, 0)
    for i, (source, size) in enumerate(steps):
        session.feed(texts[source][given_bytes[source] : given_bytes[source] + size], source)
        given_bytes[source] += size
        if i % advance_every == 0:
            triage.advance([session])
        if i % (3 * advance_every) == 0:
            session.peek()
    for source, data in reversed(texts.items()):
        session.feed(data[given_bytes[source] :], source)
    return session.close()


def test_sessions_advanced_together_judge_as_alone(shipped_triage: Triage) -> None:
    """Windows of many sessions go through the networks in one batch; nothing of it shows."""
    cases = sorted(path for path in SAMPLES.iterdir() if path.is_dir())
    texts = {case.name: {file.stem: file.read_bytes() for file in sorted(case.glob("*.log"))} for case in cases}
    alone = {name: judge(shipped_triage, of_case, name) for name, of_case in texts.items()}
    sessions = {name: shipped_triage.session(name) for name in texts}
    for part in range(8):
        for name, of_case in texts.items():
            for source, data in of_case.items():
                sessions[name].feed(data[part * len(data) // 8 : (part + 1) * len(data) // 8], source)
        shipped_triage.advance(sessions.values())
    for name, session in sessions.items():
        assert_same(session.close(), alone[name])


def test_evidence_of_all_classifiers_adds_up(shipped_triage: Triage) -> None:
    """Lines, missing keys and the rest, each classifier by its share, are the log-odds of the label against its rival."""
    session = shipped_triage.session("r")
    for file in sorted((SAMPLES / "attach-rejected").glob("*.log")):
        session.feed(file.read_bytes(), file.stem)
    verdict = session.close()
    model = session.model
    label, rival = model.card.labels.index(verdict.label), model.passing
    states = {name: state.classify for name, state in session.sources.items()}
    missing = [a.key for a in verdict.anomalies if a.kind == "missing"]
    shares = model.classifier.explain(states, label, rival, missing)
    total = sum(share.weight for share in shares.lines) + sum(shares.missing.values()) + shares.rest
    scores = model.classifier.scores(states)
    assert total == pytest.approx(scores[label] - scores[rival], abs=1e-6)


def test_a_line_out_of_order_names_what_was_expected(shipped_triage: Triage) -> None:
    """Two known lines of a passing run are swapped: nothing is new or missing, and the order is an anomaly."""
    texts = {file.stem: file.read_bytes() for file in sorted((SAMPLES / "attach-pass").glob("*.log"))}
    assert judge(shipped_triage, texts).clean
    lines = texts["ue"].split(b"\n")
    first, second = len(lines) // 4, 3 * len(lines) // 4
    lines[first], lines[second] = lines[second], lines[first]
    verdict = judge(shipped_triage, {**texts, "ue": b"\n".join(lines)})
    assert {a.kind for a in verdict.anomalies} == {"order"}
    placed = [a for a in verdict.anomalies if a.number is not None]
    assert {a.number for a in placed} & {first + 1, second + 1}
    template = next(iter(shipped_triage.models.values())).template
    for anomaly in placed:
        assert anomaly.rank is not None
        assert anomaly.count == 1
        first = anomaly.expected_keys[0]
        assert anomaly.expected == (template(first) if first else "the end of the source")


def test_a_line_after_the_end_of_a_passing_run(shipped_triage: Triage) -> None:
    """Where passing runs end, the end is what was expected."""
    texts = {file.stem: file.read_bytes() for file in sorted((SAMPLES / "attach-pass").glob("*.log"))}
    lines = texts["ue"].splitlines(keepends=True)
    verdict = judge(shipped_triage, {**texts, "ue": texts["ue"] + b"".join(lines[-40:])})
    assert "the end of the source" in {anomaly.expected for anomaly in verdict.anomalies}
    assert all(
        anomaly.expected_keys[0] == "" for anomaly in verdict.anomalies if anomaly.expected == "the end of the source"
    )


@pytest.fixture(scope="module")
def without_terms() -> Bundle:
    """The shipped TM500 bundle, early stop included, with nothing but procedures to decide by."""
    whole = Bundle.open(find_bundle("tm500"))
    files = {name: whole.data(name) for name in whole.card.files}
    return Bundle(whole.card.model_copy(update={"classifiers": {"procedures": 1.0}}), files)


def test_a_bundle_may_decide_by_procedures_alone(without_terms: Bundle) -> None:
    """Folded lines are not read by anything then; the label and its evidence come from what became of the UEs."""
    verdict = judge(Triage(without_terms), {"": (SAMPLES.parent / "tm500" / "retransmissions.log").read_bytes()})
    assert not verdict.passed
    assert verdict.ues
    assert verdict.ues.failed
    assert any(item.kind == "line" for item in verdict.evidence)


def test_no_run_is_certain_to_fail_without_terms(without_terms: Bundle) -> None:
    """The early stop scores terms; a bundle that does not read them never stops a run."""
    session = Triage(without_terms).session("r")
    session.feed(b"01/01/26 00:00:00:000\tRSET\n")
    session.peek()
    assert session.certain_to_fail() is False


def test_a_run_is_certain_to_fail_once_its_line_came(shipped_triage: Triage) -> None:
    """False at first and in a passing run; true from the deciding line on."""
    for case, expected in (("attach-pass", False), ("prach-assert", True)):
        session = shipped_triage.session("r")
        assert session.certain_to_fail() is False
        for file in sorted((SAMPLES / case).glob("*.log")):
            session.feed(file.read_bytes(), file.stem)
        session.close()
        assert session.certain_to_fail() is expected


def test_evidence_names_the_template_of_its_line(bundle: Bundle) -> None:
    """As the anomaly of the same line does; a line that matches no template has a key of its own, a rule has none."""
    triage = Triage(bundle, rules=rules_with(pattern="reject cause", label="L3", veto=False, weight=1.0))
    verdict = judge(triage, {**FAILING.sources, "gnb": FAILING.sources["gnb"] + b"registration reject xyzzy\n"})
    key_of = {item.text: item.key for item in verdict.evidence if item.kind == "line"}
    known = next(key for text, key in key_of.items() if text.startswith("registration reject cause"))
    unknown = key_of["registration reject xyzzy"]
    assert triage.models["tiny"].template(known).startswith("registration reject cause")
    assert unknown.startswith("new:")
    assert {known, unknown} <= {anomaly.key for anomaly in verdict.anomalies if anomaly.kind == "new"}
    assert [item.key for item in verdict.evidence if item.kind == "rule"] == [""]


def test_a_long_line_has_the_key_of_the_whole_line(triage: Triage) -> None:
    """Its text is cut where a verdict quotes it; the key is that of the line as the stages saw it."""
    long = "registration reject " + "cause and cause " * 200
    verdict = triage.run(f"uesim starting\n{long}\n")
    (item,) = [item for item in verdict.evidence if item.kind == "line" and item.number == 2]
    assert item.text == long[:2000] + "…"
    assert [a.key for a in verdict.anomalies if a.number == 2 and a.kind == "new"] == [item.key]


def test_peek_sees_whole_lines_and_changes_nothing(triage: Triage) -> None:
    """Provisional verdicts after every byte have rising versions below the final one and do not disturb it."""
    session = triage.session("r")
    versions = []
    for i in range(len(FAILING.sources["ue"])):
        session.feed(FAILING.sources["ue"][i : i + 1], "ue")
        provisional = session.peek()
        assert not provisional.final
        versions.append(provisional.version)
    session.feed(FAILING.sources["gnb"], "gnb")
    final = session.close()
    assert versions == sorted(set(versions))
    assert final.version > versions[-1]
    assert final.version % 2 == 1
    assert final.model_dump() == judge(triage, dict(FAILING.sources)).model_dump()


@pytest.mark.parametrize("bundle_name", ["tm500", "oai5g"])
def test_peek_sees_the_lines_behind_damaged_bytes(bundle_name: str) -> None:
    """Lines that wait until an encoding is decided are in a provisional verdict, with their numbers, text and repairs."""
    triage = Triage(Bundle.open(find_bundle(bundle_name)))
    folder = SAMPLES.parent / bundle_name
    log = sorted(folder.rglob("*.log"))[0].read_bytes().splitlines(keepends=True)[:300]
    log[100:100] = [b"\xff\xfa\xfb\xc3\x28\xfe\xfe\n"]
    log[200:200] = [b"\xfa\xfb\xfc\xc3\x28\xfe\xfe\n"]
    data = b"".join(log)
    quiet, session = judge(triage, {"": data}), triage.session("r")
    for i in range(0, len(data), 5000):
        session.feed(data[i : i + 5000])
        whole = data[: i + 5000].count(b"\n")
        assert session.peek().lines == whole
    provisional = session.peek()
    final = session.close()
    assert final.model_dump() == quiet.model_dump()
    same = ("label", "probabilities", "evidence", "sources", "lines")
    assert [getattr(provisional, name) for name in same] == [getattr(final, name) for name in same]


def test_sources_of_one_name_after_redaction_stay_apart(triage: Triage) -> None:
    """Two sources whose names differ only in an identity keep their bytes and line numbers apart."""
    session = triage.session("r")
    session.feed(b"uesim star", "ue-imsi-001010000000001")
    session.feed(b"uesim starting\n", "ue-imsi-001010000000002")
    session.feed(b"ting\n", "ue-imsi-001010000000001")
    verdict = session.close()
    assert [summary.source for summary in verdict.sources] == ["ue-imsi-<imsi>", "ue-imsi-<imsi>~2"]
    assert [summary.lines for summary in verdict.sources] == [1, 1]


@pytest.mark.parametrize(
    "names",
    [
        ["ue~a-imsi-001010000000001", "ue~a-imsi-001010000000002"],
        ["imsi-001010000000001", "imsi-001010000000002", "imsi-<imsi>~2", "imsi-<imsi>", "imsi-001010000000003"],
    ],
)
def test_no_source_takes_the_place_of_another(triage: Triage, names: list[str]) -> None:
    """Whatever sources are called, each keeps its own lines."""
    session = triage.session("r")
    for count, name in enumerate(names, 1):
        session.feed(b"uesim starting\n" * count, name)
    summaries = session.close().sources
    assert sorted(summary.lines for summary in summaries) == list(range(1, len(names) + 1))
    assert len({summary.source for summary in summaries}) == len(names)


def test_run_that_ends_in_blank_lines_ends_with_its_last_text(triage: Triage) -> None:
    """The anomaly of an unusual end quotes the last line with text."""
    ends = [a for a in triage.run("uesim starting\n\nall is lost\n\n \n").anomalies if a.kind == "end"]
    assert [(a.number, a.text) for a in ends] == [(3, "all is lost")]


@pytest.mark.parametrize("data", [b"", b"\n\n", b" \n"])
def test_run_without_text_needs_review(triage: Triage, data: bytes) -> None:
    verdict = judge(triage, {"": data})
    assert verdict.needs_review
    assert verdict.review_reasons[0] == "the run has no text"


def test_run_without_any_chunk_gets_a_verdict(triage: Triage) -> None:
    assert triage.session("r").close().needs_review


def test_unknown_kind_of_log_needs_review(triage: Triage) -> None:
    """A verdict on a log of another system is marked for review."""
    verdict = triage.run("".join(f"kernel: eth{i} link becomes ready\n" for i in range(50)))
    assert any("of a kind this bundle knows" in reason for reason in verdict.review_reasons)


@pytest.mark.parametrize(
    ("data", "field", "count"),
    [
        (b"caf\xe9 \xff\xfe\n" * 3, "invalid_bytes", 9),
        (b"a\x00b\x00\n", "nul_bytes", 2),
        (b"y" * 70_000 + b"\nnext\n", "cut_lines", 1),
        (b"y" * 70_000 + b"\nnext\n", "dropped_bytes", 70_000 - 65_536),
    ],
)
def test_damage_is_repaired_visibly_and_counted(triage: Triage, data: bytes, field: str, count: int) -> None:
    verdict = judge(triage, {"": data})
    assert getattr(verdict.sources[0].repairs, field) == count
    assert verdict.needs_review


def test_damage_noted_by_the_source_is_a_reason_for_review(triage: Triage) -> None:
    session = triage.session("r")
    session.feed(PASSING.sources["ue"], "ue")
    session.damaged("the gzip stream ends early", "ue")
    assert "the gzip stream ends early" in session.close().review_reasons


def test_50_mb_line_is_cut(triage: Triage) -> None:
    """An endless line costs neither memory nor the lines behind it."""
    session = triage.session("r")
    for _ in range(50):
        session.feed(b"z" * (1 << 20))
    session.feed(b"\n" + PASSING.sources["ue"])
    verdict = session.close()
    assert verdict.sources[0].lines == 1 + PASSING.sources["ue"].count(b"\n")
    assert verdict.sources[0].repairs.cut_lines == 1
    assert verdict.sources[0].bytes == (50 << 20) + 1 + len(PASSING.sources["ue"])


def open_state_bytes(session: Session) -> int:
    """Size of what is kept of the sources between two advances, text in the spool aside."""
    return sum(kept_bytes(state) for state in session.sources.values())


def test_state_of_an_open_run_does_not_grow_with_its_length(triage: Triage) -> None:
    """Ten times the text, every line new: the state stays what it was."""
    session, sizes = triage.session("r"), []
    for part in range(20):
        lines = (f"worker{chr(97 + i % 26)}{i}x{part} says {'word' + chr(97 + i % 26)}\n" for i in range(500))
        session.feed("".join(lines).encode())
        triage.advance([session])
        sizes.append(open_state_bytes(session))
    assert sizes[-1] <= sizes[1] * 1.05
    assert sizes[-1] < 100_000


def rules_with(**changes: object) -> Rules:
    entry = {"name": "r1", "pattern": "session up", "label": "L2", "veto": True, "note": "seen before"} | changes
    return Rules([HandRule.model_validate(entry)])


def test_rule_decides_over_the_model(bundle: Bundle) -> None:
    """A veto sets the label, is quoted first as evidence, and states the cause."""
    verdict = judge(Triage(bundle, rules=rules_with(cause="environment")), dict(PASSING.sources))
    assert (verdict.label, verdict.confidence, verdict.cause) == ("L2", 1.0, "environment")
    first = verdict.evidence[0]
    assert (first.kind, first.rule, first.note, first.text) == ("rule", "r1", "seen before", "session up")


def test_rule_weight_moves_the_probability(bundle: Bundle) -> None:
    """A weight adds to the log-odds of its label, no more and no less."""
    import math

    plain = judge(Triage(bundle), dict(PASSING.sources)).probabilities
    moved = judge(Triage(bundle, rules=rules_with(veto=False, weight=1.5)), dict(PASSING.sources)).probabilities
    before, after = math.log(plain["L2"] / plain["Pass"]), math.log(moved["L2"] / moved["Pass"])
    assert after - before == pytest.approx(1.5)


def test_rule_that_only_states_a_cause(bundle: Bundle) -> None:
    """It moves no score, and is silent where the verdict has another label."""
    plain = judge(Triage(bundle), dict(PASSING.sources))
    for label, cause, kinds in (("Pass", "script", ["rule"]), ("L2", None, [])):
        rules = rules_with(veto=False, cause="script", label=label)
        verdict = judge(Triage(bundle, rules=rules), dict(PASSING.sources))
        assert verdict.probabilities == plain.probabilities
        assert (verdict.label, verdict.cause) == ("Pass", cause)
        assert [item.kind for item in verdict.evidence if item.kind == "rule"] == kinds


def test_cause_of_a_failure_with_another_label(bundle: Bundle) -> None:
    """The rule gives the cause of whatever label the models chose, is quoted, and claims no label."""
    plain = judge(Triage(bundle), dict(FAILING.sources))
    other = next(label for label in bundle.card.labels if label not in (plain.label, "Pass"))
    rules = rules_with(veto=False, cause="environment", label=other, pattern="registration reject")
    verdict = judge(Triage(bundle, rules=rules), dict(FAILING.sources))
    assert (verdict.label, verdict.probabilities, verdict.cause) == (plain.label, plain.probabilities, "environment")
    first = verdict.evidence[0]
    assert (first.kind, first.rule, first.label, first.weight) == ("rule", "r1", "", 0.0)
    assert f"rule r1: {first.text}" in first.words()


@pytest.mark.parametrize("data", ["text", 7, None, ["line"]])
def test_feed_takes_bytes_alone(triage: Triage, data: object) -> None:
    """The error says what was given and what to do, and the run goes on."""
    session = triage.session("run")
    with pytest.raises(TypeError, match=f"not {type(data).__name__}; encode text first"):
        session.feed(data)  # type: ignore[arg-type]
    session.feed(b"one line\n")
    assert session.close().lines == 1


RULE_OF_BUNDLE = b"""[[rule]]
name = "r1"
pattern = "session up"
label = "%s"
veto = true
"""


def with_rules(bundle: Bundle, content: bytes) -> Bundle:
    files = {name: bundle.data(name) for name in bundle.card.files} | {RULES_NAME: content}
    return Bundle(bundle.card.model_copy(update={"files": dict.fromkeys(files, "")}), files)


def test_rules_of_the_bundle(bundle: Bundle) -> None:
    """They are used like those of a file, which may replace them by their name."""
    own = with_rules(bundle, RULE_OF_BUNDLE % b"L2")
    assert judge(Triage(own), dict(PASSING.sources)).label == "L2"
    silent = rules_with(pattern="never said")
    assert judge(Triage(own, rules=silent), dict(PASSING.sources)).passed


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[[rule", "rules.toml of bundle memory is not valid TOML"), (RULE_OF_BUNDLE % b"L9", "label 'L9'; the bundle has")],
)
def test_faulty_rules_of_the_bundle(bundle: Bundle, content: bytes, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Triage(with_rules(bundle, content))


def test_rule_scope(bundle: Bundle) -> None:
    """A rule for other test cases or sources stays silent."""
    for changes in ({"source": "gnb"}, {"test_case": "handover*"}):
        assert judge(Triage(bundle, rules=rules_with(**changes)), dict(PASSING.sources)).passed
    session = Triage(bundle, rules=rules_with(test_case="handover*")).session("r", {"test.case.name": "handover_7"})
    session.feed(PASSING.sources["ue"], "ue")
    assert session.close().label == "L2"


def test_disagreeing_vetoes_need_a_review(bundle: Bundle) -> None:
    two = Rules(
        [
            HandRule(name="a", pattern="session up", label="L2", veto=True),
            HandRule(name="b", pattern="uesim", label="L3", veto=True),
        ]
    )
    verdict = judge(Triage(bundle, rules=two), dict(PASSING.sources))
    assert verdict.label == "L2"
    assert verdict.review_reasons == ("rules a and b disagree",)


def test_rule_with_a_label_no_bundle_has_is_rejected(bundle: Bundle) -> None:
    with pytest.raises(SettingsError, match="rule 'r1' has label 'L9'"):
        Triage(bundle, rules=rules_with(label="L9"))


def test_no_bundle_is_rejected() -> None:
    with pytest.raises(BundleError, match="no bundle"):
        Triage([])


def test_several_bundles_judge_side_by_side(bundle: Bundle) -> None:
    """A session may ask for a bundle by name; the first one judges the rest."""
    other = Bundle(bundle.card.model_copy(update={"name": "other"}), {n: bundle.data(n) for n in bundle.card.files})
    triage = Triage([bundle, other])
    assert triage.session("a").close().bundle == "tiny"
    assert triage.session("b", bundle="other").close().bundle == "other"


def test_closed_session_takes_no_more(triage: Triage) -> None:
    session = triage.session("r")
    first = session.close()
    assert session.close() == first
    with pytest.raises(ValueError, match="closed"):
        session.feed(b"late\n")


SECRETS = {
    "imsi": "001019876543210",
    "key": "8baf473f2f8fd09487cccbd7097c6862",
    "token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJlLW9mLXRlc3Q",
    "password": "Tr0ub4dor&3",
    "email": "jane.doe@lab.example",
    "private-key": "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj",
}
SECRET_TEXT = f"""uesim starting
attach IMSI={SECRETS["imsi"]} opc={SECRETS["key"]}
GET / Authorization: Bearer {SECRETS["token"]}
password={SECRETS["password"]} mail {SECRETS["email"]}
-----BEGIN PRIVATE KEY-----
{SECRETS["private-key"]}
-----END PRIVATE KEY-----
registration reject cause 7
"""


def test_no_secret_leaves_the_pipeline(bundle: Bundle) -> None:
    """Secrets in text, run id, source name and headers are in no part of the verdict, the spool or the rules' evidence."""
    triage = Triage(bundle, rules=rules_with(pattern="IMSI|Bearer|password", label="L3"))
    headers = {
        "test.case.name": f"attach IMSI {SECRETS['imsi']}",
        f"user {SECRETS['email']}": f"token={SECRETS['token']}",
    }
    session = triage.session(f"logs/{SECRETS['imsi']}.log", headers)
    session.feed(SECRET_TEXT.encode(), f"ue-{SECRETS['imsi']}")
    session.damaged(f"odd: password={SECRETS['password']}", f"ue-{SECRETS['imsi']}")
    verdict = session.close()
    texts = [verdict.model_dump_json(), json.dumps(session.run_id), json.dumps(session.headers)]
    for source in session.text.sources():
        texts += [source, *session.text.read(source, 1, session.text.line_count(source))]
    for kind, secret in SECRETS.items():
        assert not any(secret in text for text in texts), kind
    assert sum(verdict.sources[0].redactions.values()) >= len(SECRETS)


@pytest.mark.parametrize("name", ["password", "token", "api_key", "Password", "x-api-key", "secret"])
def test_a_header_whose_name_says_that_it_is_secret(triage: Triage, name: str) -> None:
    """The name of a header stands beside its value, as it would in a line."""
    assert "hunter2abc99" not in triage.session("r", {name: "hunter2abc99"}).close().model_dump_json()


def test_the_digest_of_a_run_id_survives_redaction(triage: Triage) -> None:
    """What is removed from a path must not include the digest after it, which tells files apart."""
    ids = [triage.session(f"token=abcd1234efgh5678x/a.log#{digest}").run_id for digest in ("0a1b2c3d", "ffffffff")]
    assert "abcd1234" not in ids[0]
    assert [run_id.split("#")[1] for run_id in ids] == ["0a1b2c3d", "ffffffff"]
    assert "hunter2abc99" not in triage.session("queue#password=hunter2abc99").run_id


def test_a_rule_weighs_for_its_own_label(bundle: Bundle) -> None:
    """Evidence of a rule is signed by what it does to the label that was given against its rival."""
    for label, weight, expected in (("L3", 0.5, 0.5), ("Pass", -3.0, 3.0), ("L2", 0.5, 0.0)):
        rules = rules_with(pattern="registration reject", label=label, veto=False, weight=weight)
        (item,) = [e for e in judge(Triage(bundle, rules=rules), dict(FAILING.sources)).evidence if e.kind == "rule"]
        assert (item.label, item.weight) == (label, expected)


def test_a_run_whose_text_cannot_be_kept_stays_broken(bundle: Bundle) -> None:
    """A full disk loses lines of the run: no later call may judge it as if nothing had happened."""
    from stream_triage import StoreError
    from stream_triage.spool import SpillSpool

    class FullSpool(SpillSpool):
        def append(self, source, lines) -> None:
            raise StoreError("no space")

    triage = Triage(bundle, open_spool=FullSpool)
    session = triage.session("r")
    session.feed(b"uesim starting\n")
    for step in (session.peek, session.close, lambda: triage.advance([session])):
        with pytest.raises(StoreError, match="no space"):
            step()


def test_pseudonyms_keep_identities_apart(bundle: Bundle) -> None:
    """With a key the same identity stays recognisable, and the verdict is the same as without."""
    plain = Triage(bundle).run(SECRET_TEXT)
    keyed = Triage(bundle, redactor=Redactor(pseudonym_key=b"k")).run(SECRET_TEXT)
    texts = " ".join(line.text for line in keyed.reduction)
    assert "<imsi:" in texts
    assert SECRETS["imsi"] not in texts
    assert (keyed.label, keyed.probabilities) == (plain.label, plain.probabilities)


def test_evidence_shares_add_up(bundle: Bundle) -> None:
    """Lines, missing keys and the rest are exactly the log-odds of the label against its rival."""
    import math

    session = Triage(bundle).session("r")
    for source, data in FAILING.sources.items():
        session.feed(data, source)
    verdict = session.close()
    model = session.model
    states = {name: state.classify for name, state in session.sources.items()}
    missing = [a.key for a in verdict.anomalies if a.kind == "missing"]
    shares = model.classifier.explain(states, 2, 0, missing)
    total = sum(share.weight for share in shares.lines) + sum(shares.missing.values()) + shares.rest
    assert total == pytest.approx(math.log(verdict.probabilities["L3"] / verdict.probabilities["Pass"]), abs=1e-9)
    assert isinstance(verdict.evidence[0], Evidence)


@pytest.mark.parametrize(
    ("name", "limit"),
    [("model.MEMO_LINES", 3), ("model.MEMO_CHARACTERS", 50), ("pipeline.BATCH_LINES", 2), ("pipeline.RUN_BYTES", 7)],
)
def test_limits_of_memory_change_nothing(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, name: str, limit: int) -> None:
    """Verdicts do not depend on how much is remembered or taken at once."""
    text = b"".join(FAILING.sources.values()) * 3
    whole = Triage(bundle).run(text)
    monkeypatch.setattr(f"stream_triage.{name}", limit)
    assert Triage(bundle).run(text) == whole


SET_UP = (
    b"07/03/24 10:00:00:000\t#$$CONNECT\n07/03/24 10:00:00:020\tC: CONNECT 0x00 ok\n"
    b"07/03/24 10:00:00:100\tRSET\n07/03/24 10:00:00:120\tC: RSET 0x00 Ok\n"
    b"07/03/24 10:00:01:500\tSETP ALPHA 1\n"
)


def test_cut_run_needs_a_review(triage: Triage) -> None:
    """The final verdict on a cut run names what is outstanding. A provisional one does not: an open run lacks its end."""
    session = triage.session("r")
    session.feed(SET_UP, "tester")
    assert not any(reason.startswith("the log ends early") for reason in session.peek().review_reasons)
    verdict = session.close()
    session.text.close()
    (reason,) = [reason for reason in verdict.review_reasons if reason.startswith("the log ")]
    assert reason.startswith(
        "the log ends early: SETP at line 5 was never confirmed; the set-up of the tester begins at line 2"
    )
    assert verdict.needs_review


def test_cut_inside_a_line(triage: Triage) -> None:
    """A last line without line end counts as cut only if it is not whole."""
    reasons = [
        judge(triage, {"tester": SET_UP + line}).review_reasons for line in (b'07/03/24 10:00:02:000\tI: "a', b"07/03/24 1")
    ]
    assert all("line 6, the last one, is incomplete" in " ".join(some) for some in reasons)
    assert "incomplete" not in " ".join(judge(triage, {"tester": SET_UP.rstrip()}).review_reasons)


def test_reason_of_a_cut_run_changes_no_label(triage: Triage) -> None:
    cut = {name: text[: text.rindex(b"\n", 0, len(text) // 2) + 1] for name, text in PASSING.sources.items()}
    whole, doubted = judge(triage, cut), judge(triage, {**cut, "tester": SET_UP})
    assert (whole.label, doubted.needs_review) == (doubted.label, True)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_cutting_the_bytes_changes_no_doubt_about_completeness(triage: Triage, data: st.DataObject) -> None:
    text = SET_UP * 3
    text = text[: data.draw(st.integers(1, len(text)))]
    session = triage.session("r")
    rest = text
    while rest:
        size = data.draw(st.integers(1, 200))
        session.feed(rest[:size])
        if data.draw(st.booleans()):
            session.peek()
        rest = rest[size:]
    verdict = session.close()
    session.text.close()
    assert verdict.review_reasons == judge(triage, {"": text}).review_reasons
