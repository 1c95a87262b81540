"""Text and problems of one finished run in, piece by piece; its events, which all carry the run id, out."""

from dataclasses import replace

from stream_triage.files.naming import ID_BYTES, run_id
from stream_triage.ports import Handle
from stream_triage.records import Chunk, Problem
from stream_triage.stages.decode import missing_line_end

__all__ = ["RunEvents"]


class RunEvents:
    """The events of one finished run. They wait until the run id can be made.

    The id is made from the first 4 KiB of the first source with text. The parts of a source are joined; a part that does
    not end with a line end gets one.

    Args:
        path: Path of the run, the first part of its id.
        handle: Gets the events.
    """

    def __init__(self, path: str, handle: Handle) -> None:
        self.id = ""
        self._path, self._handle = path, handle
        self._waiting: list[Chunk | Problem] = []
        self._beginning = b""
        self._source = ""
        self._last = b""  # bytes of the source's text so far
        self._within = False  # a part that had text

    def next_piece(self, source: str) -> None:
        """Begins a part of this source."""
        if source != self._source:
            if self._beginning:
                self._make_id()
            self._last = b""
        self._source = source
        self._within = False

    def take(self, text: bytes) -> None:
        """Adds text of the part."""
        if text:
            if not self._within and (line_end := missing_line_end(self._last)):
                self._push_text(line_end)
            self._within, self._last = True, (self._last + text[-8:])[-8:]
        self._push_text(text)

    def problem(self, problem: Problem) -> None:
        """Adds a problem of the run."""
        self._push(problem)

    def end(self) -> bool:
        """Passes on what still waits, and returns whether there was a run. The caller sends its `RunEnd`."""
        if any(isinstance(event, Chunk) for event in self._waiting):
            self._make_id()
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            if isinstance(event, Problem):
                self._handle(replace(event, source=""))
        return bool(self.id)

    def _push_text(self, text: bytes) -> None:
        self._push(Chunk(self.id, text, self._source))
        if not self.id:
            self._beginning += text
            if len(self._beginning) >= ID_BYTES:
                self._make_id()

    def _push(self, event: Chunk | Problem) -> None:
        if self.id:
            self._handle(replace(event, run_id=self.id))
        else:
            self._waiting.append(event)

    def _make_id(self) -> None:
        self.id = self.id or run_id(self._path, self._beginning)
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self._push(event)
