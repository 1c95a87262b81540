"""Lines that tell the procedures of a run: a reader of these lines alone must see the same breaks."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from stream_triage.stages.procedures.breaks import failed_ues
from stream_triage.stages.procedures.telling import telling_lines
from tests.stages.test_procedures import FOLLOWER, GONE, REFUSED, STAMP, attached, follow, reestablishment, trouble

DULL = f"{STAMP}I: CMPI L1 CSI report: UE Id: 0: CQI 15, RI 4, PMI 0"


def told(lines: Sequence[str]) -> list[str]:
    """The telling lines in the order of the log, each with the indented lines that belong to it."""
    kept: list[str] = []
    for number in sorted(telling_lines(FOLLOWER, follow(lines))):
        kept.append(lines[number - 1])
        for line in lines[number:]:
            if not line.startswith(" "):
                break
            kept.append(line)
    return kept


def outcomes(lines: Sequence[str]) -> list[tuple[str, str]]:
    return [(one.ue, one.reason) for one in failed_ues(FOLLOWER, follow(lines))] if lines else []


class TestTellingLines:
    def test_a_healthy_ue_is_told_by_its_last_success(self) -> None:
        """A session proves all that comes before it."""
        assert told([*attached(0), DULL]) == [attached(0)[0], attached(0)[-1]]

    def test_what_broke_comes_first(self) -> None:
        """A limit must not push it out for the successes of the other UEs."""
        lines = [*attached(0), *attached(1), *attached(3, "connected"), *REFUSED]
        number = telling_lines(FOLLOWER, follow(lines))[0]
        assert lines[number - 1] == REFUSED[0]

    def test_trouble_that_kept_coming_stays_a_failure(self) -> None:
        """Three lines of it are kept, since fewer are no failure."""
        lines = [*attached(4), trouble(4), DULL, trouble(4), DULL, trouble(4), DULL, *[trouble(4)] * 40]
        assert told(lines).count(trouble(4)) == 3
        assert [ue for ue, _ in outcomes(told(lines))] == ["4"]

    def test_a_loss_that_was_recovered_from_keeps_its_recovery(self) -> None:
        """The success that is kept is one after the loss, not one before it."""
        lost = f"{STAMP}I: CMPI MTE 0 NR PLMN LOSS IND:UE Id:5"
        again = [*reestablishment(5, done=True), f"{STAMP}I: CMPI MTE 0 NR PDU SESSION MODIFICATION IND:UE Id:5"]
        lines = [*attached(5), lost, *again]
        assert not outcomes(lines)
        assert not outcomes([*told(lines)[:-1], lost, told(lines)[-1]])

    def test_re_establishments_again_and_again(self) -> None:
        """The first, the second and the last one make them a failure."""
        lines = [*attached(2), *reestablishment(2, done=True) * 5]
        assert outcomes(told(lines))
        assert [ue for ue, _ in outcomes(told(lines))] == [ue for ue, _ in outcomes(lines)]

    @given(
        st.lists(
            st.one_of(
                st.builds(attached, st.integers(0, 6), st.sampled_from(["started", "access", "connected", "session"])),
                st.just(REFUSED),
                st.just([GONE]),
                st.builds(lambda ue: [trouble(ue)], st.integers(0, 6)),
                st.builds(reestablishment, st.integers(0, 6), st.booleans()),
            ),
            min_size=1,
            max_size=12,
        )
    )
    def test_failed_ues_are_still_failed(self, parts: list[list[str]]) -> None:
        """Whatever the course of the run, each failed UE fails in the lines that are told."""
        lines = [line for part in parts for line in part]
        assert {ue for ue, _ in outcomes(told(lines))} >= {ue for ue, _ in outcomes(lines)}
