"""Runs as collectors keep them: the same verdict as without the wrapper, with sources, numbers and text for people."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.corpora import lines_of
from benchmarks.wrapped import WRAPPERS
from stream_triage import Bundle, Triage, Verdict, find_bundle
from stream_triage.pipeline import Session
from stream_triage.render.terminal import console, verdict_page
from tests.verdicts import assert_same

SAMPLES = Path(__file__).parent.parent / "samples"
RUN = {file.stem: file.read_bytes() for file in sorted((SAMPLES / "oai5g" / "attach-rejected").iterdir())}
LINES = {source: lines_of(text) for source, text in RUN.items()}
KEY = ["-----BEGIN PRIVATE KEY-----", "MIIEinventedAAAA/" + "bQ9x+" * 9 + "zz", "-----END PRIVATE KEY-----"]


@pytest.fixture(scope="module")
def oai(shipped: Bundle) -> Triage:
    return Triage(shipped)


@pytest.fixture(scope="module")
def tm500() -> Triage:
    return Triage(Bundle.open(find_bundle("tm500")))


def judged(triage: Triage, sources: dict[str, bytes], size: int = 1 << 20) -> tuple[Verdict, Session]:
    session = triage.session("r")
    for name, data in sources.items():
        for start in range(0, len(data), size):
            session.feed(data[start : start + size], name)
    return session.close(), session


def compose(lines: dict[str, list[str]]) -> bytes:
    """The sources in turns, as docker compose prints them."""
    longest = max(map(len, lines.values()))
    return "".join(
        f"{source}-1  | {some[i]}\n" for i in range(longest) for source, some in lines.items() if i < len(some)
    ).encode()


def test_services_become_the_sources_that_they_were(oai: Triage) -> None:
    """Logs of three programs in one: the verdict is that of the three logs, and line numbers count in each of them."""
    apart, _ = judged(oai, RUN)
    merged, session = judged(oai, {"": compose(LINES)})
    assert (merged.label, merged.needs_review, merged.probabilities) == (apart.label, False, apart.probabilities)
    assert [(s.source, s.lines, s.stripped) for s in merged.sources] == [
        (f"{source}-1", len(lines), "docker compose") for source, lines in LINES.items()
    ]
    assert [(e.key, e.number) for e in merged.evidence] == [(e.key, e.number) for e in apart.evidence]
    first = next(item for item in merged.evidence if item.kind == "line")
    assert first.text.startswith(f"{first.source}  | [")
    assert session.text.read(first.source, first.number or 0, first.number or 0) == [first.text]


def test_a_service_is_named_behind_its_source(oai: Triage) -> None:
    """Names that exist already get a number: no two sources share a state."""
    verdict, _ = judged(oai, {"ci": compose(LINES), "ci/cu-1": RUN["cu"]})
    assert [source.source for source in verdict.sources] == ["ci/cu-1", "ci/cu-1~2", "ci/du-1", "ci/ue-1"]
    assert sum(source.bytes for source in verdict.sources) <= len(compose(LINES)) + len(RUN["cu"])


@pytest.mark.slow
@pytest.mark.parametrize("name", WRAPPERS)
def test_samples_keep_their_verdict(name: str, oai: Triage, tm500: Triage) -> None:
    """Under each wrapper in its usual form, a sample of each bundle keeps label, confidence and doubts."""
    for triage, run in ((oai, LINES), (tm500, {"": lines_of((SAMPLES / "tm500" / "rejected.log").read_bytes())})):
        before, _ = judged(triage, {source: "".join(f"{x}\n" for x in lines).encode() for source, lines in run.items()})
        after, _ = judged(triage, WRAPPERS[name][0](run, random.Random(1)).sources)
        assert (after.label, after.needs_review) == (before.label, before.needs_review)
        assert after.confidence == pytest.approx(before.confidence, abs=0.05)


WRAPPED = [name for name in WRAPPERS if name != "late or ending"]


@given(st.sampled_from(WRAPPED), st.integers(1, 700))
@settings(max_examples=12)
def test_cutting_the_bytes_changes_nothing(tm500: Triage, name: str, size: int) -> None:
    """The same verdict however the bytes of a wrapped run are cut."""
    lines = lines_of((SAMPLES / "tm500" / "rejected.log").read_bytes())[:300]
    sources = WRAPPERS[name][0]({"": lines}, random.Random(1)).sources
    assert_same(judged(tm500, sources)[0], judged(tm500, sources, size)[0])


@pytest.mark.parametrize("lines", [0, 3, 15, 16, 40])
def test_a_peek_changes_nothing_and_misses_nothing(oai: Triage, lines: int) -> None:
    """Lines that wait for the decision are in a provisional verdict, and the decision does not depend on it."""
    data = compose({source: some[:lines] for source, some in LINES.items()})
    quiet, session = judged(oai, {"": data})[0], oai.session("r")
    for line in data.splitlines(keepends=True):
        session.feed(line)
        peeked = session.peek()
    closed = session.close()
    assert_same(closed, quiet)
    if lines:
        assert peeked.lines == closed.lines
        assert (peeked.label, peeked.probabilities) == (closed.label, closed.probabilities)


def test_a_peek_sees_the_services_behind_damaged_bytes(oai: Triage) -> None:
    """Lines of all services that wait until an encoding is decided are in a provisional verdict, and change no later one."""
    lines = compose(LINES).splitlines(keepends=True)
    lines[70] = lines[70][:-1] + b"\xff\xfa\xfb\xc3\x28\xfe\xfe\n"
    data = b"".join(lines)
    quiet, session = judged(oai, {"ci": data})[0], oai.session("r")
    for line in lines:
        session.feed(line, "ci")
    peeked = session.peek()
    closed = session.close()
    assert_same(closed, quiet)
    assert [(one.source, one.lines) for one in peeked.sources] == [(one.source, one.lines) for one in closed.sources]
    assert (peeked.label, peeked.probabilities, peeked.evidence) == (closed.label, closed.probabilities, closed.evidence)


def test_secrets_of_two_services_do_not_hide_each_other(oai: Triage) -> None:
    """A key over several lines is removed although lines of another service stand between, and in prefixes too."""
    lines = {"cu": LINES["cu"][:30] + KEY, "du": LINES["du"][: 30 + len(KEY)]}
    _, session = judged(oai, {"": compose(lines).replace(b"cu-1", b"imsi-001010000000042")})
    text = "\n".join(line for source in session.text.sources() for line in session.text.read(source, 1, 99))
    assert "bQ9x" not in text
    assert "001010000000042" not in text
    assert "private-key" in text or "<key>" in text or "<private" in text


def test_joined_lines_keep_the_numbers_of_the_file(oai: Triage) -> None:
    """Pieces of a line count as lines, so that a number leads to the right place in the file as it was collected."""
    pieces = [(line[i : i + 20], i + 20 >= len(line)) for line in LINES["ue"] for i in range(0, max(len(line), 1), 20)]
    data = "".join(json.dumps({"log": text + "\n" * last, "stream": "o", "time": "t"}) + "\n" for text, last in pieces)
    verdict, session = judged(oai, {"ue": data.encode()})
    (source,) = verdict.sources
    assert source.lines == len(pieces)
    assert source.stripped == "docker json-file"
    assert session.text.read("ue", 1, 1) == [f"t {LINES['ue'][0]}"]


def test_what_was_taken_off_is_shown(oai: Triage, capsys: pytest.CaptureFixture[str]) -> None:
    verdict, _ = judged(oai, {"": compose(LINES)})
    console().print(verdict_page(verdict))
    assert f"cu-1: {len(LINES['cu'])} lines, taken off: docker compose" in capsys.readouterr().out


def test_rules_see_lines_without_their_wrapper(tm500: Triage) -> None:
    """A hand-written rule may begin with ^: it is about what the program wrote."""
    from stream_triage.stages.rules import HandRule, Rules

    rule = HandRule(name="own", pattern=r"^\[UTIL\]", label="Pass", weight=0.1)
    triage = Triage(Bundle.open(find_bundle("oai5g")), rules=Rules([rule]))
    verdict, _ = judged(triage, {"": compose(LINES)})
    assert any(item.rule == "own" for item in verdict.evidence)


def test_the_format_can_be_set() -> None:
    """With `none`, the same text is judged as it is."""
    bundle = Bundle.open(find_bundle("oai5g"))
    verdict, _ = judged(Triage(bundle, input_format="none"), {"": compose(LINES)})
    assert [source.source for source in verdict.sources] == [""]
    assert verdict.needs_review


def stamped(lines: list[str]) -> list[str]:
    return [f"2026-11-29T10:{i // 60 % 60:02}:{i % 60:02}.1234567Z {line}" for i, line in enumerate(lines)]


RUNNER = ["Current runner version: '9.1.0'", "Ubuntu", "24.04.1", "LTS", "Prepare workflow directory"]
AROUND = {
    "jenkins": lambda lines: ["Started by timer", *(f"10:00:00  {line}" for line in lines), "Finished: SUCCESS"],
    "jenkins stamps all": lambda lines: [
        f"10:00:00  {line}" for line in ["Started by user x", "Running as SYSTEM", *lines, "Finished: SUCCESS"]
    ],
    "compose": lambda lines: ["Attaching to bed-1", *(f"bed-1  | {line}" for line in lines), "bed-1 exited with code 0"],
    "actions": lambda lines: stamped([*RUNNER, "##[group]Run ./test.sh", *lines, "Post job cleanup."]),
}


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", ["expected-reject", "retransmissions"])
def test_what_a_collector_says_about_its_own_work_is_not_read(name: str, around: str, tm500: Triage) -> None:
    """A clean pass stays one: neither the label nor the anomaly score depends on who collected the log."""
    lines = lines_of((SAMPLES / "tm500" / f"{name}.log").read_bytes())
    bare, _ = judged(tm500, {"": "\n".join([*lines, ""]).encode()})
    found, session = judged(tm500, {"": "\n".join([*AROUND[around](lines), ""]).encode()})
    assert (found.label, found.needs_review, found.probabilities) == (bare.label, bare.needs_review, bare.probabilities)
    assert (found.anomalous, found.anomaly_count) == (bare.anomalous, bare.anomaly_count)
    assert found.anomaly_score == pytest.approx(bare.anomaly_score)
    shown = [line for source in session.text.sources() for line in session.text.read(source, 1, 99_999)]
    assert len(shown) == len(AROUND[around](lines)), "people see every line"


@pytest.mark.parametrize("last", ["Finished: FAILURE", "bed-1 exited with code 139"])
def test_what_a_collector_says_about_a_failure_is_read(last: str, tm500: Triage) -> None:
    lines = lines_of((SAMPLES / "tm500" / "expected-reject.log").read_bytes())
    found, _ = judged(tm500, {"": "\n".join([*(f"10:00:00  {line}" for line in lines), last, ""]).encode()})
    assert last in [anomaly.text for anomaly in found.anomalies]
