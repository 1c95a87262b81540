"""Text and problems of one run in, piece by piece; its events, which all carry the same key, out."""

import secrets
from dataclasses import replace

from stream_triage.files.content import ContentDigest
from stream_triage.files.naming import OpenKey, shown_name
from stream_triage.ports import Handle
from stream_triage.records import Chunk, Problem, RunEnd
from stream_triage.stages.decode import missing_line_end

__all__ = ["RunEvents", "new_pipe_id"]


def new_pipe_id(path: str) -> str:
    """An id for text that comes from a pipe: two readings of a pipe are never the same run."""
    return f"{shown_name(path)}#{secrets.token_hex(4)}"


class RunEvents:
    """The events of one run. Text is passed on at once; the digest of the content is made on the way.

    The parts of a source are joined; a part that does not end with a line end gets one.

    Args:
        path: Path of the run.
        handle: Receives the events.
        pipe: Whether the text, or some of it, comes from a pipe.
        run_id: The id that the user gave to the run; empty to have it made from path and content.

    Attributes:
        began: Whether there was text, perhaps empty, so that this is a run.
    """

    def __init__(self, path: str, handle: Handle, *, pipe: bool = False, run_id: str = "") -> None:
        self._path, self._handle = path, handle
        self._pipe, self._named = pipe, bool(run_id)
        self._key = run_id or (new_pipe_id(path) if pipe else OpenKey.of(path))
        self._content = ContentDigest()
        self.began = False
        self._waiting: list[Problem] = []  # until there is a run that they can belong to
        self._source = ""
        self._last = b""  # bytes of the source's text so far
        self._within = False  # a part that had text

    def next_piece(self, source: str) -> None:
        """Begins a part of this source."""
        if source != self._source:
            self._last = b""
        self._source = source
        self._within = False

    def take(self, text: bytes) -> None:
        """Adds text of the part. A part without text is a part of the run, too."""
        if text:
            if not self._within and (line_end := missing_line_end(self._last)):
                self._push_text(line_end)
            self._within, self._last = True, (self._last + text[-8:])[-8:]
        self._push_text(text)

    def problem(self, problem: Problem) -> None:
        """Adds a problem of the run."""
        if self.began:
            self._handle(replace(problem, run_id=self._key))
        else:
            self._waiting.append(problem)

    def end(self) -> bool:
        """Ends the run and returns whether there was one. Without text, its problems are reported without a run."""
        waiting, self._waiting = self._waiting, []
        for problem in waiting:
            self._handle(replace(problem, source=""))
        if self.began:
            self._handle(self._run_end())
        return self.began

    def _run_end(self) -> RunEnd:
        if self._named:
            return RunEnd(self._key, content=self._content.hexdigest())
        path = shown_name(self._path)
        if self._pipe:
            return RunEnd(self._key, path=path)
        return RunEnd(self._key, path=path, content=self._content.hexdigest(), head=self._content.head())

    def _push_text(self, text: bytes) -> None:
        self.began = True
        self._content.update(self._source, text)
        self._handle(Chunk(self._key, text, self._source))
        waiting, self._waiting = self._waiting, []
        for problem in waiting:
            self.problem(problem)
