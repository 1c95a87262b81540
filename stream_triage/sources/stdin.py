"""A pipe in; one run out, chunk by chunk as the text comes. Compressed text (.gz .bz2 .xz .zst) is unpacked."""

from collections.abc import Iterator
from typing import BinaryIO

from stream_triage.files.naming import run_id
from stream_triage.files.plaintext import NotText, text_chunks
from stream_triage.files.unpack import Damage, Guard, Reader, stream_pieces, unpacked
from stream_triage.ports import Handle
from stream_triage.records import Chunk, Problem, RunEnd
from stream_triage.settings import InputSettings

__all__ = ["StdinSource"]


class StdinSource:
    """One stream is one run. Its first 4 KiB are held back, since the run id needs them; then nothing is.

    An interrupt ends the run with what had come, then goes on. Archives cannot be read from a pipe.
    """

    def __init__(self, stream: BinaryIO, name: str = "stdin", settings: InputSettings | None = None) -> None:
        self._name = name
        self._run = ""
        self.total_bytes: int | None = None
        self.read_bytes = 0
        self._guard = Guard(settings or InputSettings())
        self._packed = Reader(self._guard.growing(stream_pieces(stream, self._count)))

    def run(self, handle: Handle) -> None:
        reader = self._packed
        outcomes: Iterator[bytes | Problem] = iter(())
        try:
            reader = unpacked(self._packed, self._name, self._guard)
            outcomes = _outcomes(text_chunks(reader, live=True))
            self._give(outcomes, handle)
        except KeyboardInterrupt:
            reader.stop()
            try:
                self._give(outcomes, handle)  # goes on only when it was not the reading that was interrupted
                if not self._run and reader.peek(1):
                    self._give(_outcomes(text_chunks(reader, live=True)), handle)
            finally:
                self._end(handle)
            raise
        self._end(handle)

    def _give(self, outcomes: Iterator[bytes | Problem], handle: Handle) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Problem):
                handle(Problem(self._name, outcome.reason, self._run or None))
            else:
                self._run = self._run or run_id(self._name, outcome)
                handle(Chunk(self._run, outcome))

    def _end(self, handle: Handle) -> None:
        """Once: an interrupt may come while the end is handled."""
        run, self._run = self._run, ""
        if run:
            handle(RunEnd(run))

    def _count(self, read: int) -> None:
        self.read_bytes += read


def _outcomes(chunks: Iterator[bytes]) -> Iterator[bytes | Problem]:
    """Catches around the reading alone, so that a handler's own errors pass untouched."""
    try:
        yield from chunks
    except (NotText, Damage) as error:
        yield Problem("", str(error))
