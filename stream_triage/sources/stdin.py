"""A pipe in; one run out, chunk by chunk as the text comes. Compressed text (.gz .bz2 .xz .zst) is unpacked."""

from collections.abc import Iterator
from typing import BinaryIO

from stream_triage.files.plaintext import NotText, text_chunks
from stream_triage.files.run_events import RunEvents
from stream_triage.files.unpack import Damage, Guard, Reader, stream_pieces, unpacked
from stream_triage.ports import Handle
from stream_triage.records import Problem
from stream_triage.settings import InputSettings

__all__ = ["StdinSource"]


class StdinSource:
    """Reads a stream as one run. Archives cannot be read from a stream.

    The first 4 KiB are held back until they show that the stream is text; later text is passed on at once. An interrupt
    ends the run with the text that has come, and is raised again.

    Args:
        stream: The stream, for example `sys.stdin.buffer`.
        name: Name of the stream, the first part of the run id.
        settings: Limits.
        run_id: Id of the run; empty for one that no other run has.
    """

    def __init__(
        self, stream: BinaryIO, name: str = "stdin", settings: InputSettings | None = None, *, run_id: str = ""
    ) -> None:
        self._name = name
        self._run_id = run_id
        self.total_bytes: int | None = None
        self.read_bytes = 0
        settings = settings or InputSettings()
        self._encoding = settings.encoding
        self._guard = Guard(settings)
        self._packed = Reader(self._guard.growing(stream_pieces(stream, self._count)))

    def run(self, handle: Handle) -> None:
        """Reads the stream to its end, or to an interrupt."""
        run = RunEvents(self._name, handle, pipe=True, run_id=self._run_id)
        reader = self._packed
        items: Iterator[bytes | Problem] = iter(())
        try:
            reader = unpacked(self._packed, self._name, self._guard)
            items = _read(text_chunks(reader, self._encoding, live=True))
            self._pass_on(items, run)
        except KeyboardInterrupt:
            reader.stop()
            try:
                self._pass_on(items, run)  # has items only if the handler was interrupted, not the reading
                if not run.began and reader.peek(1):
                    self._pass_on(_read(text_chunks(reader, self._encoding, live=True)), run)
            finally:
                run.end()
            raise
        run.end()

    def _pass_on(self, items: Iterator[bytes | Problem], run: RunEvents) -> None:
        for item in items:
            if isinstance(item, Problem):
                run.problem(Problem(self._name, item.reason))
            else:
                run.take(item)

    def _count(self, read: int) -> None:
        self.read_bytes += read


def _read(chunks: Iterator[bytes]) -> Iterator[bytes | Problem]:
    """The chunks, and why they ended early. Errors are caught here, so that those of the handler pass."""
    try:
        yield from chunks
    except (NotText, Damage) as error:
        yield Problem("", str(error))
