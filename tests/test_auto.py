"""`--bundle auto`: which bundle judges a run, and that it depends on nothing but the first lines of its sources."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from stream_triage import Bundle, Triage, Verdict, find_bundle
from stream_triage.choosing import SAMPLE_LINES
from stream_triage.errors import SettingsError
from stream_triage.intake import Intake
from stream_triage.open_sessions import OpenSessions
from stream_triage.records import Chunk, RunEnd, Tick
from stream_triage.stages.rules import Rules

ROOT = Path(__file__).parent.parent
TM500 = (ROOT / "samples" / "tm500" / "rejected.log").read_bytes()
OAI = (ROOT / "samples" / "oai5g" / "attach-rejected" / "ue.log").read_bytes()
GNB = (ROOT / "demo" / "gnb.log").read_bytes()
NOTES = b"what we tried before lunch\nand what we will try after it\n" * 60
Part = tuple[str, bytes]


def open_auto(**options: object) -> Triage:
    bundles = [Bundle.open(find_bundle(name)) for name in ("oai5g", "tm500", "generic")]
    return Triage(bundles, auto=True, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def triage() -> Triage:
    return open_auto()


def judge(triage: Triage, parts: Sequence[Part], size: int = 1 << 20, *, peek: bool = False) -> Verdict:
    """The verdict on these parts of sources, fed one after the other in pieces of so many bytes."""
    session = triage.session("run")
    for number, (source, data) in enumerate(parts):
        for start in range(0, len(data), size):
            session.feed(data[start : start + size], source)
            if peek and start % (7 * size) == 0:
                session.peek()
        if number % 2 == 0:
            triage.advance([session])
    verdict = session.close()
    session.text.close()
    return verdict


def without_bytes(verdict: Verdict) -> Verdict:
    return verdict.model_copy(update={"version": 0})


@pytest.mark.parametrize(("data", "bundle"), [(TM500, "tm500"), (OAI, "oai5g"), (GNB, "generic")])
def test_the_bundle_that_knows_the_lines_judges(triage: Triage, data: bytes, bundle: str) -> None:
    """Each sample is judged by the bundle of its system, or by `generic`, with the same label as if that had been named."""
    chosen, named = triage.run(data), Triage(Bundle.open(find_bundle(bundle))).run(data)
    assert (chosen.bundle, chosen.bundle_chosen, named.bundle_chosen) == (bundle, True, False)
    assert chosen.model_copy(update={"bundle_chosen": False}) == named
    assert chosen.known_share is not None
    assert chosen.known_share > 0.9


def test_what_no_bundle_knows_is_unknown(triage: Triage) -> None:
    """A text of another kind goes to `generic`, which gives no label; so does a run without text."""
    for data in (NOTES, b"", b'{"level":"info","msg":"request served","status":200}\n' * 30):
        verdict = triage.run(data)
        assert (verdict.bundle, verdict.label, verdict.needs_review) == ("generic", "unknown", True)


@pytest.mark.parametrize("size", [3, 100, 4097])
@pytest.mark.parametrize("peek", [False, True])
def test_cutting_the_bytes_changes_nothing(triage: Triage, size: int, peek: bool) -> None:
    """However the bytes are cut, and whether somebody looks on the way, the verdict is the same."""
    size = size if not peek else max(size, 1000)
    assert judge(triage, [("", TM500)], size, peek=peek) == triage.run(TM500)


@pytest.mark.parametrize("parts", [[("notes", NOTES), ("tester", TM500)], [("amf", GNB), ("tester", TM500), ("x", NOTES)]])
def test_the_order_of_the_sources_changes_nothing(triage: Triage, parts: list[Part]) -> None:
    """A source that comes late may change the bundle: the others are read again then, as if it had read them first."""
    one, other = judge(triage, parts), judge(triage, parts[::-1], 700, peek=True)
    assert one == other
    assert one.bundle == "tm500"
    assert one.label == "L3"


def test_two_stacks_in_one_run(triage: Triage) -> None:
    """A run of two systems, of which no bundle knows enough, is judged by the rules of 3GPP in both."""
    verdict = judge(triage, [("ue", OAI), ("gnb", GNB * 40)])
    assert (verdict.bundle, verdict.label, verdict.needs_review) == ("generic", "L3", True)
    assert verdict.ues is not None
    assert {ue.source for ue in verdict.ues.first} == {"ue", "gnb"}


def test_a_log_whose_first_lines_are_of_another_kind(triage: Triage) -> None:
    """Only the first lines count: what comes behind them does not change the bundle while a run is open."""
    first = b"a line of something else\n" * (SAMPLE_LINES + 1)
    assert triage.run(first + TM500).bundle == "generic"
    assert triage.run(first[: 25 * 10] + TM500).bundle == "tm500"


def test_bundles_are_opened_when_a_run_needs_them() -> None:
    """The networks of a bundle that no run needs are never loaded."""
    triage = open_auto()
    assert not triage.models.opened
    triage.run(TM500)
    assert set(triage.models.opened) == {"generic", "tm500"}


def test_a_session_that_was_packed_keeps_its_bundle(triage: Triage) -> None:
    """An open run may be packed before its bundle is chosen, and after that, also if the model was opened later."""
    fresh = open_auto()
    sessions = OpenSessions(fresh, live_bytes=0)
    session = fresh.session("run")
    for start in range(0, len(TM500), 20_000):
        session.feed(TM500[start : start + 20_000], "")
        fresh.advance([session])
        sessions.put("run", session)
        sessions.pack_surplus()
        assert sessions.is_packed("run")
        session = sessions.unpack("run")
    assert session.close() == triage.run(TM500).model_copy(update={"run_id": "run"})


def test_an_open_run_that_is_read_again_gets_the_same_bundle() -> None:
    """A worker that takes over reads the messages again, cut otherwise by chance, and comes to the same verdict."""
    verdicts: list[Verdict] = []
    for size, stop in ((900, True), (5000, False)):
        intake = Intake(open_auto(), on_verdict=verdicts.append)
        for source, data in (("notes", NOTES), ("tester", TM500)):
            for start in range(0, len(data), size):
                intake.handle(Chunk("run", data[start : start + size], source))
                intake.handle(Tick())
        if stop:
            assert intake.discard_open() == ["run"]
    intake.handle(RunEnd("run"))
    assert [(verdict.bundle, verdict.label) for verdict in verdicts] == [("tm500", "L3")]


def test_rules_of_ones_own() -> None:
    """A rule whose label only some of the bundles have is used by those; one that none has is an error."""
    rule = '[[rule]]\nname = "mine"\npattern = "REGISTRATION REJECT"\nlabel = "core_other"\nveto = true\n'
    triage = open_auto(rules=Rules.parse(rule.encode(), "mine.toml"))
    assert triage.run(TM500).label == "L3"
    assert triage.run(GNB.replace(b"Registration Reject", b"REGISTRATION REJECT")).label == "core_other"
    with pytest.raises(SettingsError, match="no_such"):
        open_auto(rules=Rules.parse(rule.replace("core_other", "no_such").encode(), "mine.toml"))
