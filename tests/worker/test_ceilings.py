"""Rejected messages in; as many dead letters as a run may have in an hour, and a summary of the rest, out."""

from stream_triage.clock import FakeClock
from stream_triage.records import DeadLetter
from stream_triage.worker import ceilings as module
from stream_triage.worker.ceilings import HOUR_SECONDS, Ceilings


class Counted:
    """Ceilings of two letters an hour, and what was said."""

    def __init__(self, per_hour: int = 2) -> None:
        self.clock = FakeClock()
        self.said: list[str] = []
        self.ceilings = Ceilings(per_hour, self.clock, usable=lambda key: key != "imsi", warn=self.said.append)
        self.offset = -1

    def admits(self, key: bytes | None, partition: int = 0, reason: str = "wrong", value: bytes = b"12345") -> bool:
        self.offset += 1
        return self.ceilings.admits(DeadLetter("message", reason, f"logs/{partition}/{self.offset}", key, value))


def test_each_run_has_its_own_ceiling():
    """One run beyond it takes nothing from the others, and is said once."""
    counted = Counted()
    assert [counted.admits(key) for key in (b"a", b"a", b"a", b"b", b"a")] == [True, True, False, True, False]
    (said,) = counted.said
    assert "run a" in said
    assert "wrong" in said


def test_a_summary_names_how_many_and_where():
    """Count, bytes, first and last; it is given out once."""
    counted = Counted()
    for _ in range(5):
        counted.admits(b"a")
    (summary,) = counted.ceilings.summaries()
    assert (summary.kind, summary.origin, summary.key, summary.value) == ("summary", "logs/0/2 to logs/0/4", b"a", None)
    assert summary.reason == "3 messages (15 bytes) rejected beyond kafka.dead_per_hour: wrong"
    assert dict(summary.headers) == {"triage.messages": b"3", "triage.bytes": b"15"}
    assert counted.ceilings.summaries() == []


def test_messages_without_a_usable_key_share_the_ceiling_of_their_partition():
    """Also keys that no run may have, since a sender could invent them without end."""
    counted = Counted()
    keys = (None, b"\xff", b"imsi", b" ")
    assert [counted.admits(key) for key in keys] == [True, True, False, False]
    assert counted.admits(None, partition=1)
    (summary,) = counted.ceilings.summaries()
    assert (summary.key, summary.origin) == (b"", "logs/0/2 to logs/0/3")


def test_the_next_hour_begins_with_none():
    counted = Counted()
    assert [counted.admits(b"a") for _ in range(3)] == [True, True, False]
    counted.clock.advance(HOUR_SECONDS + 1)
    assert [counted.admits(b"a") for _ in range(3)] == [True, True, False]
    assert len(counted.said) == 2


def test_documents_and_runs_have_no_ceiling():
    """What is in them is nowhere else."""
    counted = Counted(0)
    assert counted.ceilings.admits(DeadLetter("document", "wrong", "index/a/1", b"a", b"{}"))
    assert counted.ceilings.admits(DeadLetter("run", "not judged", "a", b"a", None))


def test_memory_is_bounded(monkeypatch):
    """The runs that were not rejected for longest are forgotten; their summaries are not."""
    monkeypatch.setattr(module, "MAX_COUNTED", 2)
    counted = Counted(1)
    counted.admits(b"a")
    counted.admits(b"a")
    for key in (b"b", b"c"):
        counted.admits(key)
    assert len(counted.ceilings._hours) == 2
    assert counted.admits(b"a")
    assert len(counted.ceilings.summaries()) == 1
