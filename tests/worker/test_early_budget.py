"""Messages before their turn: bounded in memory over all runs, whatever they hold, and none is given up for that."""

import random
from pathlib import Path

import pytest

from stream_triage import Bundle, StoreError, Triage
from stream_triage.records import Record
from stream_triage.sinks.dead_letters import MemoryDeadLetters
from stream_triage.sinks.memory import MemorySink
from stream_triage.sinks.run_log import MemoryRunLog
from stream_triage.worker import early_budget as module
from stream_triage.worker import runs as runs_module
from stream_triage.worker.early_budget import EarlyBudget
from stream_triage.worker.engine import Engine
from stream_triage.worker.messages import Message, MessageReader
from stream_triage.worker.runs import PartitionRuns, RunRules
from stream_triage.worker.sequence import MAX_EARLY_BYTES, MAX_RUN_EARLY_BYTES


def record(key: str, seq: int, text: bytes, offset: int = 0, source: str = "log") -> Record:
    headers = (("source", source.encode()), ("seq", b"%d" % seq))
    return Record("logs", 0, offset, 1_767_225_600_000, key.encode(), text, headers)


def message(seq: int, size: int) -> Message:
    return MessageReader("text", "message", "source", "end").read(record("a", seq, random.Random(seq).randbytes(size)))


def open_files(folder: Path) -> int:
    return sum(1 for link in Path("/proc/self/fd").iterdir() if link.is_symlink() and str(folder) in str(_target(link)))


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def test_what_is_kept_comes_back_unchanged(tmp_path: Path) -> None:
    """From memory and from the disk, in any order, any number of times; and the memory is free again afterwards."""
    budget = EarlyBudget(memory_bytes=5000, folder=tmp_path)
    messages = [message(seq, 1000) for seq in range(20)]
    kept = [budget.keep(each) for each in messages]
    assert 0 < budget.in_memory <= 5000
    for number in random.Random(1).sample(range(20), 20):
        assert kept[number].message() == messages[number]
        assert kept[number].message() == messages[number]
    kept.clear()
    assert budget.in_memory == 0
    assert list(tmp_path.iterdir()) == []


def test_space_on_the_disk_is_free_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file goes with the last message in it, also while other messages wait."""
    monkeypatch.setattr(module, "FILE_BYTES", 4000)
    budget = EarlyBudget(memory_bytes=0, folder=tmp_path)
    kept = [budget.keep(message(seq, 1000)) for seq in range(30)]
    assert open_files(tmp_path) == 10
    del kept[3:27]
    assert open_files(tmp_path) == 2
    assert [each.message().seq for each in kept] == [0, 1, 2, 27, 28, 29]


def test_a_full_disk_stops_the_worker(bundle: Bundle, tmp_path: Path) -> None:
    """The messages are read again when there is space; they are no dead letters, and nothing is durable after that."""
    dead = MemoryDeadLetters()
    engine = Engine(Triage(bundle), [MemorySink()], run_log=MemoryRunLog(), dead_letters=dead)
    engine._early = EarlyBudget(memory_bytes=0, folder=tmp_path / "missing")
    with pytest.raises(StoreError, match=r"cannot be kept in .*missing: .*; free space there, or set TMPDIR"):
        engine.handle([record("a", 1, b"early\n")])
    assert not engine.flush()
    assert (dead.letters, engine.positions) == ([], {})


def test_many_runs_that_wait_for_their_first_message(bundle: Bundle, tmp_path: Path) -> None:
    """Memory stays bounded over all runs, nothing is given up, and each run has all its lines once the message comes."""
    sink, budget = MemorySink(), EarlyBudget(memory_bytes=100_000, folder=tmp_path)
    engine = Engine(Triage(bundle), [sink], run_log=MemoryRunLog(), dead_letters=MemoryDeadLetters())
    engine._early = budget
    text = b"".join(b"line %d of many\n" % number for number in range(500))
    order = [(f"run-{run}", seq) for seq in (1, 2, 3) for run in range(40)] + [(f"run-{run}", 0) for run in range(40)]
    most = 0
    for offset, (key, seq) in enumerate(order):
        engine.handle([record(key, seq, text, offset)])
        most = max(most, budget.in_memory)
    assert 90_000 < most <= 100_000
    end = (("source", b"log"), ("seq", b"4"), ("end", b"1"))
    engine.handle([record(f"run-{run}", 4, b"", len(order) + run)._replace(headers=end) for run in range(40)])
    while not engine.flush():
        assert engine.errors == []
    assert [verdict.lines for verdict in sink.written] == [2000] * 40
    assert not [problem for verdict in sink.written for source in verdict.sources for problem in source.repairs.problems]
    assert budget.in_memory == 0


def test_sources_of_one_run_hold_a_limited_size_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it, gaps are given up where most is held: what a run holds becomes its text in one step at its end."""
    monkeypatch.setattr(runs_module, "MAX_RUN_EARLY_BYTES", 1000)
    runs = PartitionRuns(RunRules())
    problems = []
    for offset in range(40):
        source = ["small", "large", "large", "large"][offset % 4]
        for item in runs.take(record("a", 2 * offset + 1, b"x" * 99 + b"\n", offset, source), 0.0):
            problems += [(item.source, item.reason)] if hasattr(item, "reason") else []
        (run,) = runs._open.values()
        assert run.early_bytes <= 1000
    assert {source for source, _ in problems} >= {"large"}
    assert problems[0] == ("large", "messages 0 to 2 never came")
    assert MAX_RUN_EARLY_BYTES >= MAX_EARLY_BYTES


def test_text_that_silent_runs_held_is_passed_on_a_few_runs_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it at once would be as much as all runs hold."""
    monkeypatch.setattr(runs_module, "MAX_IDLE_BYTES", 5000)
    runs = PartitionRuns(RunRules(idle_seconds=1.0))
    for number in range(30):
        assert runs.take(record(f"run-{number}", 1, b"x" * 999 + b"\n", number), 0.0) == []
    runs.read_up_to(30, 10.0)
    ended = []
    while runs.run_ids:
        items = runs.idle(10.0)
        assert sum(len(getattr(item, "data", b"")) for item in items) <= 6000
        ended.append(len(runs.run_ids))
    assert ended == [25, 20, 15, 10, 5, 0]
