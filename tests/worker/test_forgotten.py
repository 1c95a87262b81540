"""What is remembered of a partition, and how much: marks of `forget`, rejected messages, origins of replayed ones."""

import pytest

from stream_triage.records import DeadLetter, ForgottenRun, RejectedMessages
from stream_triage.worker import rejections as rejections_module
from stream_triage.worker import replayed as replayed_module
from stream_triage.worker.forgotten import ForgottenRuns
from stream_triage.worker.rejections import Rejections
from stream_triage.worker.replayed import ReplayedOrigins


def letter(offset: int, replays: int = 0) -> DeadLetter:
    return DeadLetter("message", "why", f"logs/0/{offset}", b"a", b"", replays=replays)


class TestForgottenRuns:
    def test_a_run_that_began_before_the_offset_of_its_mark(self) -> None:
        """By the id that its verdict shows; of several marks, the highest offset counts."""
        marks = [ForgottenRun("RUN", 5), ForgottenRun("RUN", 3)]
        forgotten = ForgottenRuns(marks, str.upper)
        assert [forgotten.includes("run", first) for first in (0, 4, 5)] == [True, True, False]
        assert not forgotten.includes("run@2", 0)
        assert (forgotten.includes_id("RUN"), forgotten.includes_id("run")) == (True, False)

    def test_keys_of_letters(self) -> None:
        """A mark for a later run of a key counts for the letters of this key; the rest of a key with an `@` is no key."""
        forgotten = ForgottenRuns([ForgottenRun("run@7", 5), ForgottenRun("other@host", 5), ForgottenRun("plain", 5)])
        found = [key for key in ("run", "run@7", "other", "other@host", "plain", "") if forgotten.includes_message(key, 4)]
        assert found == ["run", "run@7", "other@host", "plain"]

    def test_messages_of_any_run_of_the_key(self) -> None:
        forgotten = ForgottenRuns([ForgottenRun("a@7", 9), ForgottenRun("b", 4)])
        assert [forgotten.includes_message("a", offset) for offset in (8, 9)] == [True, False]
        assert [forgotten.includes_message(key, 3) for key in ("b", "c", "a@7")] == [True, False, True]

    def test_new_marks_name_the_runs_that_are_open(self) -> None:
        """Each once, and not those that are over."""
        forgotten = ForgottenRuns([ForgottenRun("known", 5)])
        for run_id in ("known", "open", "later", "over"):
            forgotten.begin(run_id, 4 if run_id != "later" else 6)
        forgotten.over("over")
        assert forgotten.ids == {"known"}
        assert forgotten.add(ForgottenRun(run_id, 5) for run_id in ("known", "open", "later", "over")) == ["open"]
        assert forgotten.ids == {"known", "open"}
        forgotten.over("open")
        assert (forgotten.ids, forgotten.add([])) == ({"known"}, [])


class TestRejections:
    def test_a_letter_is_kept_once(self) -> None:
        """One of a message that was sent again is another one; what was kept is recorded once."""
        rejections = Rejections([RejectedMessages(("logs/0/1",), ("logs/0/2",))])
        kept = [rejections.keep(one) for one in (letter(1), letter(2), letter(3), letter(3), letter(3, 1))]
        assert kept == [False, False, True, False, True]
        rejections.keep(rejections.found_unusable(letter(4)))
        assert rejections.take_new() == RejectedMessages(("logs/0/4",), ("logs/0/3", "logs/0/3+1"))
        assert rejections.take_new() == RejectedMessages()
        assert [rejections.was_unusable(f"logs/0/{offset}") for offset in range(1, 5)] == [True, False, False, True]

    def test_the_oldest_are_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rejections_module, "MAX_REMEMBERED", 2)
        rejections = Rejections([RejectedMessages(("logs/0/1", "logs/0/2", "logs/0/3"))])
        assert [rejections.keep(letter(offset)) for offset in (2, 3, 4)] == [False, False, True]
        assert rejections.keep(letter(1))

    def test_what_is_forgotten_is_not_ruled_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A message that may have been rejected, once too many others were, must not be dropped when it is sent again."""
        monkeypatch.setattr(rejections_module, "MAX_REMEMBERED", 2)
        rejections = Rejections([RejectedMessages(("logs/0/1", "logs/0/4", "logs/0/6", "logs/0/7"))])
        assert [rejections.rules_out(f"logs/0/{offset}") for offset in range(3, 9)] == [
            False, False, True, False, False, True
        ]  # fmt: skip
        assert rejections.rules_out("logs/1/1")


class TestReplayedOrigins:
    def test_by_place(self) -> None:
        origins = ReplayedOrigins()
        for origin in ("logs/0/7", "logs/0/3", "logs/1/9", "no origin"):
            origins.add(origin)
        assert origins.highest == (("logs/0", 7), ("logs/1", 9))
        assert [origins.includes(f"logs/0/{offset}") for offset in (3, 5, 7, 9)] == [True, False, True, False]
        assert not origins.includes("no origin")

    def test_of_many_the_lower_half_counts_as_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also what lies between them: `replay-dead` sends in order, so nothing new comes from there."""
        monkeypatch.setattr(replayed_module, "MAX_REMEMBERED", 4)
        origins = ReplayedOrigins()
        for offset in (2, 4, 6, 8, 10):
            origins.add(f"logs/0/{offset}")
        taken = [offset for offset in range(12) if origins.includes(f"logs/0/{offset}")]
        assert taken == [0, 1, 2, 3, 4, 5, 6, 8, 10]
        assert origins.highest == (("logs/0", 10),)
