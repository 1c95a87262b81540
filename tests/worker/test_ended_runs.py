"""What is remembered of ended runs: which messages are done with, which ids are used, which runs end again."""

import pytest

from stream_triage.records import ClosedRun
from stream_triage.worker import ended_runs as module
from stream_triage.worker.ended_runs import EndedRuns

DURABLE = ClosedRun("a", "a", 2, 6)
LATER = ClosedRun("a", "a@7", 7, 9)


def reading_from(offset: int, *recorded: ClosedRun) -> EndedRuns:
    ended = EndedRuns(recorded)
    ended.begin_reading(offset)
    return ended


def test_a_run_that_began_before_the_first_offset_is_durable():
    """Its messages are done with, to the last one; of later runs and other keys none are."""
    ended = reading_from(3, LATER, DURABLE)
    assert [ended.covers("a", offset) for offset in (3, 6, 7)] == [True, True, False]
    assert not ended.covers("b", 3)
    assert (ended.last("a"), ended.recorded("a", "a"), ended.recorded("a", "a@7")) == (DURABLE, None, LATER)


def test_a_run_that_begins_with_the_first_offset_is_read_again():
    """The position may be its own first message."""
    ended = reading_from(2, DURABLE)
    assert not ended.covers("a", 2)
    assert (ended.last("a"), ended.recorded("a", "a")) == (None, DURABLE)


def test_a_run_that_ended_before_the_first_offset_covers_nothing():
    """None of its messages comes again, but it is remembered for lines that are late."""
    ended = reading_from(7, DURABLE)
    assert not ended.covers("a", 7)
    assert ended.last("a") == DURABLE


def test_of_the_last_message_only_pieces_up_to_the_end_are_done_with():
    """The next run begins with the others."""
    ended = reading_from(3, DURABLE._replace(pieces=2))
    assert not ended.covers("a", 6)
    assert [ended.covers_piece("a", 6, piece) for piece in range(4)] == [True, True, False, False]
    assert ended.covers_piece("a", 5, 3)
    assert not ended.covers_piece("a", 7, 0)


def test_a_run_that_ended_again_is_not_read_again():
    """It is the last one of its key."""
    ended = reading_from(2, DURABLE)
    ended.add_again(DURABLE)
    assert (ended.last("a"), ended.recorded("a", "a")) == (DURABLE, None)


def test_ids_of_runs_that_share_messages_are_not_used_twice():
    """Runs that end in the message in which the next one begins, or in one it held; others are forgotten."""
    ended = EndedRuns()
    assert ended.free_id("a", 3) == "a"
    for run in (ClosedRun("a", "a", 0, 3), ClosedRun("a", "a@3", 3, 3), ClosedRun("a", "a@3.1", 3, 3)):
        ended.add(run)
    assert (ended.free_id("a", 3), ended.free_id("a", 4)) == ("a@3.2", "a@4")
    ended.add(ClosedRun("a", "a@4", 4, 5))
    assert ended.free_id("a", 3) == "a@3"


def test_keys_that_ended_longest_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch):
    """A key that ends again counts as new."""
    monkeypatch.setattr(module, "MAX_ENDED", 2)
    ended = EndedRuns()
    for key in ("a", "b", "a", "c"):
        ended.add(ClosedRun(key, key, 0, 0))
    assert [ended.last(key) is None for key in "abc"] == [False, True, False]


def test_replayed_messages_of_ended_runs():
    """Up to the highest origin of each place; not for messages that a run shares with the next one."""
    ended = EndedRuns()
    ended.add(ClosedRun("a", "a", 0, 3, replayed=(("logs/0", 7), ("logs/1", 1))))
    ended.add(ClosedRun("a", "a@4", 4, 6, replayed=(("logs/0", 5),)))
    ended.add(ClosedRun("a", "a@6", 6, 9, replayed=(("logs/0", 9),)))
    known = [("logs/0", 7, 4), ("logs/0", 8, 4), ("logs/1", 1, 4), ("logs/0", 9, 9), ("logs/0", 9, 10), ("logs/2", 0, 10)]
    assert [ended.has_replayed("a", *asked) for asked in known] == [True, False, True, False, True, False]
    assert not ended.has_replayed("b", "logs/0", 7, 4)
