"""A message that was joined of parts is rejected, and taken when it is sent again, part by part."""

from stream_triage.records import ORIGIN_HEADER, REPLAYED_HEADER, Chunk, DeadLetter, Problem, Record, RunEnd
from stream_triage.worker.runs import Item, PartitionRuns, RunRules

LINES = RunRules(start_pattern="START", end_pattern="END")


def send(runs: PartitionRuns, text: bytes, seq: int, part: str = "", origin: str = "") -> list[Item]:
    headers = [("seq", b"%d" % seq)]
    headers += [("seq.part", part.encode())] if part else []
    headers += [(ORIGIN_HEADER, origin.encode()), (REPLAYED_HEADER, b"1")] if origin else []
    return runs.take(Record("logs", 0, runs.next_offset, 0, b"run", text, tuple(headers)), now=0.0)


def letters(items: list[Item]) -> list[tuple[str, bytes | None]]:
    return [(item.origin, item.value) for item in items if isinstance(item, DeadLetter)]


def test_each_part_has_a_letter_of_its_own() -> None:
    """With one letter for both, the second part was lost: the letter of the first one had been kept before."""
    runs = PartitionRuns(LINES)
    send(runs, b"START\nEND\n", seq=0)
    send(runs, b"START\n", seq=5)
    assert send(runs, b"one\n", seq=3, part="1/2/abc", origin="logs/1/90") == []
    items = send(runs, b"two\n", seq=3, part="2/2/abc")
    assert letters(items) == [("logs/1/90", b"one\n"), ("logs/0/3", b"two\n")]
    assert all(dict(item.headers)["seq.part"] for item in items if isinstance(item, DeadLetter))


def test_late_lines_of_each_part() -> None:
    runs = PartitionRuns(LINES)
    send(runs, b"START\n", seq=0)
    send(runs, b"a\nEN", seq=1, part="1/3/abc")
    send(runs, b"D\nlate ", seq=1, part="2/3/abc")
    items = send(runs, b"line\nlater\n", seq=1, part="3/3/abc")
    assert b"".join(item.data for item in items if isinstance(item, Chunk)) == b"a\nEND\n"
    assert letters(items) == [("logs/0/2", b"late "), ("logs/0/3", b"line\nlater\n")]
    assert not any("seq.part" in dict(item.headers) for item in items if isinstance(item, DeadLetter))


def test_parts_that_were_taken_are_not_taken_again() -> None:
    runs = PartitionRuns(RunRules())
    send(runs, b"zero\n", seq=0)
    send(runs, b"one\n", seq=1, part="1/2", origin="logs/1/90")
    send(runs, b"two\n", seq=1, part="2/2", origin="logs/1/91")
    for origin in ("logs/1/90", "logs/1/91"):
        assert send(runs, b"one\n", seq=2, part="1/2", origin=origin) == []
    runs.read_up_to(runs.next_offset, 1e6)
    items = runs.idle(1e6)
    assert any(isinstance(item, RunEnd) for item in items)
    assert not any(isinstance(item, Problem) and "in part" in item.reason for item in items)
