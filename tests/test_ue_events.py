"""What happened to one UE, from the archived text of a run: of a tester, of network functions, and behind a collector."""

import random
from pathlib import Path

import pytest

from benchmarks.corpora import lines_of
from benchmarks.wrapped import WRAPPERS
from stream_triage import Bundle, Triage, find_bundle
from stream_triage.errors import InputError
from stream_triage.model import Model
from stream_triage.records import UeCourse
from stream_triage.spool import SpillSpool
from stream_triage.stages.procedures.recording import MAX_EVENTS
from stream_triage.ue_events import UES_LISTED, events_of_failed_ues, events_of_ue

STAMP = "13/02/25 00:43:36:616\t"
SCRIPT = f"{STAMP}forw mte Activate -1"


def access(ue: int | str) -> list[str]:
    return [
        f"{STAMP}I: CMPI L2 Random Access Initiated :UE Id:{ue} (Cell Id 0)",
        f"{STAMP}I: CMPI L2 Random Access Complete :UE Id:{ue} (TC-RNTI: 0xBF8F)",
    ]


def connected(ue: int | str) -> str:
    return f"{STAMP}I: CMPI MTE 0 NR CONNECTION IND:UE Id:{ue}"


def registered(ue: int | str) -> str:
    return f"{STAMP}I: CMPI MTE 0 NR REGISTRATION IND:UE Id:{ue}"


def expired(ue: int | str) -> str:
    return f"{STAMP}I: CMPI L2 RLC: t-PollRetransmit expired: UE Id: {ue}, POLL_SN 7"


CU = ["[NR_RRC]   [DL] (cellID 3, UE ID 9 RNTI c4f2) Generate RRCSetup", "[NR_RRC]   UE c4f2: Received RRCSetupComplete"]
DU = ["[NR_MAC]   UE c4f2: initialization of 4-Step CBRA procedure", "[NR_MAC]   UE c4f2: RA procedure succeeded"]
UE = ["[NAS]   Generate Initial NAS Message: Registration Request", "[NAS]   Received Registration reject cause: Illegal_UE"]


@pytest.fixture
def model(bundle: Bundle) -> Model:
    return Model(bundle)


def events(model: Model, asked: str, /, **sources: list[str]) -> list[UeCourse]:
    """By source; the one called `only` has no name."""
    with SpillSpool("run") as text:
        for source, lines in sources.items():
            text.append("" if source == "only" else source, lines)
        return events_of_ue(model, text, (), asked)


def words(course: UeCourse) -> list[tuple[int, str, bool]]:
    return [(event.number, event.what, event.bad) for event in course.events]


def test_events_are_in_order_with_their_lines(model: Model) -> None:
    """Those of the other UE are left out; trouble is marked, and what never came is said at the end."""
    lines = [SCRIPT, *access(1), *access(3), connected(1), connected(3), registered(1), expired(3), expired(1)]
    (course,) = events(model, "3", only=lines)
    assert words(course) == [
        (4, "random access begun", False),
        (5, "random access completed", False),
        (7, "connection completed", False),
        (9, "trouble of layer 2", True),
    ]
    assert [event.text for event in course.events] == [*access(3), connected(3), expired(3)]
    assert course.unfinished == ("registration was due after line 7 and never came",)


def test_a_body_says_what_its_record_is(model: Model) -> None:
    """The record alone would be a registration; the line below it is quoted beside it."""
    body = "   NAS: Registration failure - Congestion"
    (course,) = events(model, "3", only=[SCRIPT, *access(3), connected(3), registered(3), body, registered(3), body])
    assert words(course)[-1] == (5, "registration refused", True)
    last = course.events[-1]
    assert (last.text, last.body, last.repeats, last.last) == (registered(3), body, 2, 7)
    assert course.unfinished == ("registration refused in line 5",)


def test_what_did_not_go_well_is_shown_with_the_line_below_it(model: Model) -> None:
    """Records often state the cause in an indented line. The next record is none, and what went well needs none."""
    rejected, cause = f"{STAMP}I: CMPI MTE 0 NAS DL REGISTRATION REJECT:UE Id:3", "    cause: #12"
    lines = [SCRIPT, *access(3), "    (indented)", connected(3), rejected, cause, expired(3), connected(1), expired(3)]
    (course,) = events(model, "3", only=lines)
    assert [event.body for event in course.events] == ["", "", "", cause, ""]


def test_a_ue_that_a_node_took_with_it(model: Model) -> None:
    """No record names it, but the script set it up: what broke of the node is what became of it."""
    lines = [
        f"{STAMP}forw mte MtsConfigUeGroup 0 1 1{{0-3}}",
        SCRIPT,
        f"{STAMP}C: FORW 0x06 FAILURE MTE RADIOCONTEXTCELL: RETURN CODE:8030 FAILED",
    ]
    (course,) = events(model, "2", only=lines)
    assert course.events == ()
    assert course.unfinished[0].endswith("(line 3)")
    assert course.unfinished[1] == "the script set the UE up, and no record names it"


def test_repeats_in_a_row_are_one_event(model: Model) -> None:
    """With their number and the last line; a step between begins a new one."""
    lines = [SCRIPT, *access(3), connected(3), *[expired(3)] * 4, registered(3), expired(3)]
    (course,) = events(model, "3", only=lines)
    assert [(event.number, event.repeats, event.last) for event in course.events[3:]] == [(5, 4, 8), (9, 1, 9), (10, 1, 10)]
    assert course.unfinished[-1].startswith("trouble of layer 2 came 5 times")


def test_a_healthy_ue_lacks_nothing(model: Model) -> None:
    (course,) = events(model, "1", only=[SCRIPT, *access(1), connected(1), registered(1)])
    assert (course.unfinished, course.dropped) == ((), 0)
    assert not any(event.bad for event in course.events)


@pytest.mark.parametrize("asked", ["rnti c4f2", "C4F2", "UE rnti c4f2"])
def test_several_sources(model: Model, asked: str) -> None:
    """Each source that knows the UE has its events, also the log of the UE itself, which is the only one of the run."""
    found = {course.source: course for course in events(model, asked, cu=CU, du=DU, ue=UE)}
    assert list(found) == ["cu", "du", "ue"]
    assert words(found["du"]) == [(1, "random access begun", False), (2, "random access completed", False)]
    assert words(found["ue"])[-1] == (2, "registration refused", True)
    assert found["ue"].ue == ""


def test_a_whole_id_goes_before_a_part_of_one(model: Model) -> None:
    """UE 3 of one log is not the UE that another one knows by NGAP id 3."""
    core = ["04/18 10:33:41.123: [amf] INFO: AMF_UE_NGAP_ID[3] Registration request (../amf.c:1)"]
    assert [course.ue for course in events(model, "3", core=core, tester=[SCRIPT, *access(3)])] == ["3"]
    assert [course.ue for course in events(model, "ngap 3", core=core, tester=[SCRIPT, *access(3)])] == ["ngap 3"]


def test_the_log_of_a_ue_goes_by_its_source(model: Model) -> None:
    """Where several logs are each of a UE of its own, one is chosen by the name of the source."""
    (course,) = events(model, "ue2", cu=CU, ue1=UE[:1], ue2=UE)
    assert (course.source, len(course.events)) == ("ue2", 2)


def test_an_unknown_ue_is_an_error_that_lists_those_of_the_run(model: Model) -> None:
    """Numbers in their order; of many, the first ones and how many more."""
    with pytest.raises(InputError, match=r"no UE '12'; it has 1, 3, ue \(the UE whose log it is\)$"):
        events(model, "12", tester=[SCRIPT, *access(3), *access(1)], ue=UE)
    with pytest.raises(InputError, match=f"0, 1, .* and {100 - UES_LISTED} more$"):
        events(model, "x", only=[SCRIPT, *(line for ue in range(100) for line in access(ue))])
    with pytest.raises(InputError, match="its log names none"):
        events(model, "3", only=["uesim starting"])


def test_events_are_bounded(model: Model) -> None:
    """Steps that take turns for ever: the first ones are kept, the others counted."""
    (course,) = events(model, "3", only=[SCRIPT, *access(3) * MAX_EVENTS])
    assert (len(course.events), course.dropped) == (MAX_EVENTS, MAX_EVENTS)


@pytest.mark.parametrize("wrapper", ["docker compose", "docker json-file", "syslog", "CRI", "numbers, grep"])
def test_lines_behind_a_collector(shipped: Bundle, wrapper: str) -> None:
    """The archive keeps what the collector wrote; the events are those of the same log without it."""
    folder = Path(__file__).parent.parent / "samples" / "oai5g" / "attach-rejected"
    logs = {file.stem: file.read_bytes() for file in sorted(folder.iterdir())}
    wrapped = WRAPPERS[wrapper][0]({name: lines_of(log) for name, log in logs.items()}, random.Random(1)).sources
    shown = []
    for sources in (logs, wrapped):
        session = Triage(shipped).session("run")
        for name, log in sources.items():
            session.feed(log, name)
        verdict = session.close()
        found = events_of_ue(session.model, session.text, verdict.sources, "7a2e")
        session.text.close()
        shown.append([(event.what, event.repeats) for course in found for event in course.events])
    assert len(shown[0]) > 10
    assert shown[1] == shown[0]


def test_failed_ues_of_a_verdict() -> None:
    """Those that the verdict names, under whichever name it has for them, and no more than are asked for."""
    triage = Triage(Bundle.open(find_bundle("tm500")))
    sources = {"cu": CU, "du": [*DU, "[NR_MAC]   UE c4f2: Detected UL Failure on PUSCH after 11 PUSCH DTX"], "ue": UE}
    session = triage.session("run")
    for source, lines in sources.items():
        session.feed("".join(f"{line}\n" for line in lines).encode(), source)
    verdict = session.close()
    model = next(iter(triage.models.values()))
    assert verdict.ues is not None
    assert {ue.words() for ue in verdict.ues.first} >= {"the UE of ue"}
    courses = events_of_failed_ues(model, session.text, verdict, 10)
    assert len({(course.source, course.ue) for course in courses}) == len(courses)
    assert any(event.what == "registration refused" for course in courses for event in course.events)
    assert events_of_failed_ues(model, session.text, verdict.model_copy(update={"ues": None}), 10) == []
    assert events_of_failed_ues(model, session.text, verdict, 0) == []
