"""Documents that a server rejects while a sink is flushed: they become dead letters before a position moves."""

from collections import deque

from stream_triage import Bundle, StoreError, Triage
from stream_triage.records import DeadLetter, Record
from stream_triage.sinks.dead_letters import MemoryDeadLetters
from stream_triage.sinks.memory import MemorySink
from stream_triage.sinks.run_log import MemoryRunLog
from stream_triage.worker.engine import Engine

LETTER = DeadLetter("document", "mapper_parsing_exception", "triage-verdicts-2026.03/a/201", b"a", b"{}")


class RejectingSink(MemorySink):
    """Takes verdicts, and rejects one document with each flush that has some, as an OpenSearch sink does."""

    def __init__(self, rejected: deque[DeadLetter]) -> None:
        super().__init__()
        self._rejected = rejected

    def flush(self) -> None:
        if self._waiting:
            self._rejected.append(LETTER)
        super().flush()


class BusySink(MemorySink):
    def flush(self) -> None:
        raise StoreError("busy")


def ended_run(name: bytes = b"a") -> Record:
    return Record("logs", 0, 0, 1_767_225_600_000, name, b"one line\n", (("seq", b"0"), ("end", b"1")))


def engine_with(bundle: Bundle, *sinks: MemorySink, **settings: object) -> tuple[Engine, MemoryDeadLetters]:
    letters = MemoryDeadLetters()
    return Engine(Triage(bundle), sinks, run_log=MemoryRunLog(), dead_letters=letters, **settings), letters


def test_a_rejected_document_is_a_durable_dead_letter_when_the_flush_succeeds(bundle: Bundle) -> None:
    """The position moves only after the letter was written."""
    rejected: deque[DeadLetter] = deque()
    engine, letters = engine_with(bundle, RejectingSink(rejected), rejected=rejected)
    engine.handle([ended_run()])
    assert engine.flush()
    assert (letters.letters, len(rejected), engine.positions) == ([LETTER], 0, {0: 1})


def test_a_rejected_document_is_kept_when_another_sink_fails(bundle: Bundle) -> None:
    """The flush fails, the position stays, and the next flush writes the letter once."""
    rejected: deque[DeadLetter] = deque()
    engine, letters = engine_with(bundle, RejectingSink(rejected), BusySink(), rejected=rejected)
    engine.handle([ended_run()])
    assert [engine.flush(), engine.flush()] == [False, False]
    assert (letters.letters, engine.positions) == ([LETTER], {})


def test_rejected_documents_are_all_kept(bundle: Bundle) -> None:
    """They have no ceiling: nothing else has what is in them."""
    rejected: deque[DeadLetter] = deque()
    engine, letters = engine_with(bundle, RejectingSink(rejected), rejected=rejected, dead_per_hour=0)
    engine.handle([ended_run()])
    assert engine.flush()
    assert letters.letters == [LETTER]
