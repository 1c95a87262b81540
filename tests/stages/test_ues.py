"""UEs in the time of their log: what they are judged by, and what the forest that judges them says about a run."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_triage.dialects import Dialects
from stream_triage.errors import BundleError
from stream_triage.stages.normalise import mask
from stream_triage.stages.procedures import Follower, ProcedureState
from stream_triage.stages.procedures.history import HEAD, LogTime
from stream_triage.stages.procedures.trees import Trees
from stream_triage.stages.procedures.ue_forest import UeForest, summary_names
from stream_triage.stages.procedures.ues import (
    ALONE_FEATURES,
    MAX_JUDGED,
    UE_FEATURES,
    JudgedUe,
    alone_values,
    ue_rows,
)

FOLLOWER = Follower(Dialects())
LABELS = ("Pass", "L0_L1", "L2")


def at(seconds: float, text: str) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"13/02/26 10:{int(minutes):02d}:{int(rest):02d}:{round(rest % 1 * 1000):03d}\t{text}"


def attach(ue: int, seconds: float, *, session: bool = True) -> list[str]:
    lines = [
        at(seconds, f"I: CMPI L2 Random Access Initiated :UE Id:{ue} (Connection Establish: Cell Id 0, Dl Freq 34507)"),
        at(seconds, f"I: CMPI L2 Random Access Complete :UE Id:{ue} (TC-RNTI: 0xBF8F, TimingAdv: 0, PreambleTxCount: 2)"),
        at(seconds, f"I: CMPI MTE 0 NR CONNECTION IND:UE Id:{ue}"),
        at(seconds, f"I: CMPI MTE 0 NR REGISTRATION IND:UE Id:{ue}"),
        at(seconds, f"I: CMPI MTE 0 NR PDU SESSION ESTABLISHMENT IND:UE Id:{ue}"),
    ]
    return lines if session else lines[:-1]


def poll(ue: int, seconds: float) -> str:
    return at(seconds, f"I: CMPI L2 RLC: t-PollRetransmit expired: UE Id: {ue}, POLL_SN 7")


def gone(ue: int, seconds: float) -> str:
    return at(seconds, f"I: CMPI MTE 0 NR DISCONNECTION IND:UE Id:{ue}")


END = at(100, "I: CMPI MTE 0 MTSCLEARMTS COMPLETE IND")


def follow(lines: Sequence[str], cut: int = 0) -> ProcedureState:
    state, masked = FOLLOWER.start(), [FOLLOWER.dialects.read(line) for line in mask("\n".join(lines)).split("\n")]
    for first, last in ((0, cut), (cut, len(lines))):
        FOLLOWER.follow(state, lines[first:last], masked[first:last], first + 1)
    return state


def judged(lines: Sequence[str]) -> dict[str, dict[str, float]]:
    """The features of the UEs that are judged, by id and name."""
    rows = ue_rows(FOLLOWER, {"": follow(lines)})
    return {row.ue: dict(zip(UE_FEATURES, row.values.tolist(), strict=True)) for row in rows}


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["10:00:00.500 a", "10:00:02.250 b"], 1.75),
        (["[10:00:00,500] a", "no time", "9:00:00 buffered", "[10:00:01] b"], 0.5),
        (["23:59:59 a", "00:00:01 b", "00:00:02 c"], 3.0),  # past midnight
        (["one", "two", "three"], 2.0),  # lines are counted
        (["one", "two", "10:00:00 a", "10:00:05 b"], 6.0),  # counted until the first time
        (["10:00:00 a", f"{' ' * HEAD}10:00:09 quoted far inside"], 0.0),
        (["23:59:58 a", "00:00:01 b", "23:59:59 buffered", "00:00:02 c", "23:59:59 buffered", "00:00:03 d"], 5.0),
        (["10:00:00 a", "99:99:99 b", "24:61:99 c", "10:00:05 d"], 5.0),
        (["10:00:00 a", "mac 9c:11:22:33:44:55", "ratio 123:45:67", "10:00:05 b"], 5.0),
        (["02/Mar/2026:10:15:00 a", "02/Mar/2026:10:15:01 b"], 1.0),
    ],
)
def test_the_time_of_a_log_goes_on(lines: list[str], seconds: float) -> None:
    """From the first line to the last one; `of` says the same without going on."""
    time = LogTime()
    begun = time.read(lines[0], 1)
    for number, line in enumerate(lines[1:], 2):
        expected = time.of(line, number)
        assert time.read(line, number) == expected
    assert time.now - begun == pytest.approx(seconds)


@given(st.lists(st.text(alphabet="0123456789: .,x", max_size=30), max_size=20))
def test_time_never_goes_back(lines: list[str]) -> None:
    time, before = LogTime(), 0.0
    for number, line in enumerate(lines, 1):
        now = time.read(line, number)
        assert math.isfinite(now)
        assert now >= before
        before = now


def test_a_ue_that_stands_out_in_nothing_is_not_judged() -> None:
    """It has what the others have, has no trouble, and leaves when they leave."""
    assert judged([*attach(1, 0), *attach(2, 1), gone(1, 99), gone(2, 99), END]) == {}


def table(ue: int, seconds: float, *, bler: float, rate: int) -> list[str]:
    """A query of the statistics of one UE."""
    return [
        at(seconds, "C: FORW 0x00 Ok MTE GETSTATS: RETURN CODE:0 SUCCEEDED"),
        f"      UE ID: {ue}   (Radio Context: 0   Cell ID: 3   DL Freq: 3600.000 MHz)",
        "      DL-SCH (PCC)",
        f"         Throughput: {rate:010d} Average: {rate:010d} Min: 0000000000 Max: {rate:010d}",
        "         [NumTBs] [BLER]",
        f"         0000001000 {bler:.6f}",
    ]


def test_what_comes_after_a_ue_left_does_not_bring_it_back() -> None:
    """The lower layers report for a while that they do not hear it any more."""
    out_of_sync = at(60, "I: CMPI L1 Out of sync: UE Id: 1, N310 3")
    ues = judged([*attach(1, 0), *attach(2, 1), gone(1, 50), out_of_sync, gone(2, 99), END])
    assert ues["1"]["left"] == 1.0
    assert ues["1"]["left_before_last"] == pytest.approx(49 / 99, abs=0.01)
    back = judged([*attach(1, 0), *attach(2, 1), gone(1, 50), *attach(1, 60), poll(1, 70), gone(2, 99), END])
    assert back["1"]["left"] == 0.0


def test_the_only_ue_may_leave_early_too() -> None:
    """There is no other one to compare it with, but the log goes on."""
    assert judged([*attach(1, 0), gone(1, 99), END]) == {}
    assert judged([*attach(1, 0), gone(1, 40), END])["1"]["left_before_end"] == pytest.approx(0.6, abs=0.01)


def test_the_last_values_of_a_ue_count() -> None:
    """An error rate that is high at the end and a rate that falls to zero are trouble; what was overcome is none."""
    good, bad = {"bler": 0.05, "rate": 9_000_000}, {"bler": 0.6, "rate": 9_000_000}
    begin = [*attach(1, 0), *attach(2, 1)]
    lasts = judged([*begin, *table(1, 20, **good), *table(1, 60, **bad), *table(1, 90, **bad), *table(2, 91, **good), END])
    assert set(lasts) == {"1"}
    assert lasts["1"]["beyond_dl_bler"] == 2.0
    assert lasts["1"]["worse_than_best_dl_bler"] == pytest.approx(0.55)
    stops = judged([*begin, *table(1, 20, **good), *table(1, 90, bler=0, rate=0), *table(2, 91, **good), END])
    assert set(stops) == {"1"}
    assert stops["1"]["worse_than_best_dl_rate"] == 7.0
    assert stops["1"]["last_value_dl_bler"] == 0.05  # nothing was sent, so nothing is known of errors
    assert judged([*begin, *table(1, 20, **bad), *table(1, 90, **good), END]) == {}


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([*attach(1, 0), *attach(2, 1), poll(1, 50), END], {"count_l2": 1.0}),
        ([*attach(1, 0), *attach(2, 1), gone(1, 10), gone(2, 99), END], {"left": 1.0}),
        ([*attach(1, 0, session=False), *attach(2, 90), END], {"completed_session": 0.0, "sessions_shown": 1.0}),
    ],
)
def test_a_ue_is_judged_for_trouble_for_leaving_early_and_for_what_it_lacks(lines: list[str], why: dict[str, float]) -> None:
    ues = judged(lines)
    assert list(ues) == ["1"]
    assert {name: ues["1"][name] for name in why} == why


def test_trouble_that_lasts_differs_from_trouble_that_was_overcome_in_its_times() -> None:
    """The same records as often: at one UE they come until the end, at the other one early."""
    lines = [*attach(1, 0), *attach(2, 0), *(poll(1, second) for second in (10, 50, 95))]
    lines += [poll(2, second) for second in (10, 20, 30)]
    ues = judged([*sorted(lines), END])
    lasts, overcome = ues["1"], ues["2"]
    assert lasts["count_l2"] == overcome["count_l2"] == 3
    for name in ("last_l2", "persists_l2"):
        assert lasts[name] > 0.9
        assert overcome[name] < 0.4
    assert (lasts["at_the_end_l2"], overcome["at_the_end_l2"]) == (1.0, 0.0)


def test_a_step_that_succeeds_resolves_the_trouble_before_it() -> None:
    lines = [*attach(1, 0), poll(1, 10), poll(1, 11), at(20, "I: CMPI RRC Handover Complete: UE Id: 1"), poll(1, 30), END]
    assert judged(lines)["1"]["unresolved_l2"] == 1


def test_a_registration_that_its_body_refuses_was_not_completed() -> None:
    """So it resolves no trouble before it either."""
    lines = [
        *attach(1, 0, session=False)[:-1],
        poll(1, 0.5),
        at(1, "I: CMPI MTE 0 NR REGISTRATION IND:UE Id:1"),
        "   NAS: Congestion",
        END,
    ]
    ue = judged(lines)["1"]
    assert (ue["completed_registration"], ue["bad_registration"], ue["unresolved_l2"]) == (0, 1, 1)


def test_a_ue_that_never_registered_is_judged_though_the_log_shows_no_sessions() -> None:
    assert list(judged([*attach(1, 0, session=False), *attach(2, 1, session=False)[:-1], END])) == ["2"]


@pytest.mark.parametrize("tail", [[], [""], ["  Result: 0"]])
def test_a_log_ends_with_its_last_record_whatever_follows_it(tail: list[str]) -> None:
    """A line without a time, such as a blank one, does not move the end back to the last record that said something."""
    lines = [*attach(1, 0), *attach(2, 0), gone(1, 10), poll(2, 50), END, *tail]
    assert judged(lines)["1"]["left_before_end"] == pytest.approx(0.9)


def test_trouble_without_a_ue_is_told_by_area() -> None:
    lines = [*attach(1, 0), *(at(second, "I: CMPI ORAN_RU RU1: U-plane messages late") for second in (10, 60, 99)), END]
    values = dict(zip(ALONE_FEATURES, alone_values(FOLLOWER, {"": follow(lines)}).tolist(), strict=True))
    assert values["alone_count_l1"] == 3
    assert values["alone_persists_l1"] > 0.9
    assert values["alone_count_l2"] == 0
    assert alone_values(FOLLOWER, {}).tolist() == [0.0] * len(ALONE_FEATURES)


@given(st.integers(0, 14))
def test_ues_are_judged_alike_however_the_log_is_cut(cut: int) -> None:
    lines = [*attach(1, 0), *attach(2, 5), poll(1, 10), at(40, "I: CMPI L1 SSB measured"), poll(1, 50), gone(2, 60), END]
    whole, parts = (ue_rows(FOLLOWER, {"": follow(lines, cut=place)}) for place in (0, cut))
    assert [row[:3] for row in whole] == [row[:3] for row in parts]
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one.values, other.values, equal_nan=True)


def test_of_very_many_ues_those_with_trouble_are_judged() -> None:
    lines = [*(line for ue in range(MAX_JUDGED + 9) for line in attach(ue, 1, session=False)), *attach(2000, 2)]
    lines += [poll(ue, 30) for ue in (3, MAX_JUDGED + 5)]
    rows = ue_rows(FOLLOWER, {"": follow([*lines, END])})
    assert len(rows) == MAX_JUDGED
    assert [row.ue for row in rows[:2]] == ["3", str(MAX_JUDGED + 5)]


def forest() -> UeForest:
    """Judges a UE by its number of layer 2 records: none passes, some fail in L2."""
    feature = UE_FEATURES.index("count_l2")
    arrays = {
        "feature": np.array([feature, -1, -1]),
        "threshold": np.array([0.5, 0, 0]),
        "left": np.array([1, 0, 0]),
        "right": np.array([2, 0, 0]),
        "missing_left": np.array([1, 1, 1]),
        "value": np.array([0.0, -4.0, 4.0]),
        "roots": np.array([0]),
        "outputs": np.array([1]),
        "base": np.array([0.0, 0.0]),
    }
    return UeForest(Trees(arrays), [0, 2], len(LABELS), 0)


def ue(name: str, trouble: float) -> JudgedUe:
    values = np.zeros(len(UE_FEATURES))
    values[UE_FEATURES.index("count_l2")] = trouble
    return JudgedUe("", name, 7, values)


def test_a_run_is_as_bad_as_its_worst_ue() -> None:
    """However many healthy ones there are; the numbers rest on the worst one."""
    few, many = (forest().summary([*(ue(str(n), 0) for n in range(count)), ue("9", 3)]) for count in (1, 50))
    names = summary_names(LABELS, 0)
    assert many.worst
    assert many.worst.ue == "9"
    for name in ("ues_most failed", "ues_most L2", "ues_worst L2"):
        assert few.values[names.index(name)] == many.values[names.index(name)] > 0.9
    assert many.values[names.index("ues_most L0_L1")] == 0
    assert few.values[names.index("ues_share failed")] > many.values[names.index("ues_share failed")]


def test_without_judged_ues_nothing_is_said() -> None:
    summary = forest().summary([])
    assert summary.worst is None
    assert summary.values.tolist() == [0.0] * len(summary_names(LABELS, 0))


def test_trees_for_other_labels_are_rejected() -> None:
    arrays = {name: np.zeros(0) for name in ("feature", "threshold", "left", "right", "missing_left", "value")}
    trees = Trees({**arrays, "roots": np.zeros(0), "outputs": np.zeros(0), "base": np.zeros(2)})
    for of_labels in ([0], [1, 2], [0, 1, 2]):
        with pytest.raises(BundleError, match="rebuild"):
            UeForest(trees, of_labels, len(LABELS), 0)
