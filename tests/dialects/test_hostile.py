"""Lines and patterns that are meant to hurt: the reader neither fails nor hangs."""

import time

import pytest

from stream_triage.dialects import Dialects, DialectTable
from stream_triage.dialects.slow import PIECES, slow_patterns
from stream_triage.stages.normalise import mask
from stream_triage.stages.procedures.follow import Follower, ProcedureState

FOLLOWER = Follower(Dialects())
STAMP = "02/03/26 10:15:00:100\tI: CMPI "
TABLE = [f"{STAMP}MTE 0 STATISTICS", "  UE Id:1", "  [UE Id] [CQI] [RSRP]"]
# The most that one line of 64 KiB may take. Patterns that look at each character once need a tenth of that.
SECONDS = 2.0


def follow(*lines: str) -> ProcedureState:
    state = FOLLOWER.start()
    FOLLOWER.follow(state, lines, [FOLLOWER.dialects.read(mask(line)) for line in lines], 1)
    return state


def own(**keys: object) -> DialectTable:
    return DialectTable.model_validate({"name": "mine", "title": "Mine", "records": ["MINE "], **keys})


@pytest.mark.parametrize(
    "piece",
    [
        *PIECES, "BLER ", "DL ", "UE ", "[A] ", "a: ", "a:1  ", "a a: b=", "fail ", "UE Id: ", "aB", "T3", "T310 ",
        "T310 xY ", "timeout of ", "transMax ", "transMaxReached ", "nok max ", "nok",
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", [[], [f"{STAMP}MTE 0 STATISTICS", "  DL-SCH"]], ids=["alone", "table"])
def test_long_lines_take_no_time(piece: str, before: list[str]) -> None:
    """Alone, and as a row of a table."""
    line = piece * (65_536 // len(piece)) + " a:1"
    started = time.thread_time()
    follow(*before, line)
    follow(f"{STAMP}ORAN_RU [RX_LATE]: {line}")
    follow(f"{STAMP}L2 {line} {line} reached max")
    assert time.thread_time() - started < SECONDS


@pytest.mark.parametrize(
    "number", ["9" * 400, "9" * 5000, "1e999", "1.2.3", "-", "0x1F", "1_0", "nan", "inf", "³", "٣", "<num:e1>"]
)
def test_strange_numbers_are_no_error(number: str) -> None:
    """In a counter, a record, a row, a pair, and where a script sets up UEs."""
    follow(f"{STAMP}ORAN_RU [RX_LATE]: {number}")
    follow(f"{STAMP}MTE 0 UE Id:1 CQI: {number} RSRP: {number} DL BLER: {number}")
    follow(*TABLE, f"  1 {number} -90")
    follow(f"{STAMP}MTE 0 STATISTICS", "   BCH", f"   CQI: {number}")
    follow(
        f"02/03/26 10:15:00:100\tforw mte MtsConfigUeGroup a b 1{{0-{number}}}",
        f"{STAMP}MTE 0 NR CONNECTION IND:UE Id:{number}",
    )


@pytest.mark.parametrize(
    "keys",
    [
        {"entities": [r"ue(?P<ue>\d+)?"]},
        {"entities": [r"(?P<rnti>x)?ue"]},
        {"readings": {"cqi": {"phrase": "ue", "pattern": r"ue(\d+)?"}}},
        {"readings": {"cqi": {"phrase": "ue", "pattern": r"(\w+)"}}},
        {"records": [r"MINE(?: (?P<module>\d+))?(?P<level>!)?"], "modules": {}},
        {"sets_up": [r"ue(?P<ues>x)?"], "commands": {"script begun": ["ue"]}, "modules": {}},
    ],
)
def test_groups_without_a_part_in_the_match_are_no_error(keys: dict[str, object]) -> None:
    """A checked file cannot make a line fail, whatever its patterns leave out."""
    follower = Follower(Dialects([own(**{"modules": {"": "rrc"}, "events": {"connection failed": ["ue"]}, **keys})]))
    state = follower.start()
    lines = ["MINE ue", "MINE ue7", "MINE", "  ue", "MINE ! fail ue"]
    follower.follow(state, lines, [follower.dialects.read(mask(line)) for line in lines], 1)
    assert state.dialect == 0


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"records": [r"(?P<module>(?:[A-Z]+)*)\]"]}, "records: (?P<module>"),
        ({"records": [r"MINE (\w+ ?)*:"], "examples": {"MINE x: 7": ""}}, "records: MINE"),
        ({"continued": r"(\s*)*x"}, "continued: "),
        ({"entities": [r"(?P<ue>(?:a|aa)+)$"]}, "entities: "),
        ({"readings": {"cqi": {"phrase": "cqi", "pattern": r"(?:DL|UL)\b.*\bCQI.*=(\d)"}}}, "readings.cqi: "),
    ],
)
def test_slow_patterns_are_found(keys: dict[str, object], place: str) -> None:
    """Repetitions inside repetitions, and those that begin anew at each word of a line."""
    (fault,) = slow_patterns(own(**keys))
    assert fault.startswith(place)
    assert "bound its repetitions" in fault


def test_fast_patterns_are_left_alone() -> None:
    assert slow_patterns(own(entities=[r"\bue=(?P<ue>\d{1,6})"], examples={"MINE ue=7 up": ""})) == []
