"""Appended text of a followed file or folder in; its runs, one after the other, out as events."""

from dataclasses import replace

from stream_triage.clock import Clock
from stream_triage.files.naming import ID_BYTES, natural_key, run_id
from stream_triage.files.tail import Tail
from stream_triage.ports import Handle
from stream_triage.records import Chunk, Problem, RunEnd

__all__ = ["FollowedPath"]

_HELD_BYTES = 256 * 1024  # text of all sources of a run that is held back at most until its id can be made


class FollowedPath:
    """A file, or a folder with its files, of which the runs are read one after the other.

    Text is held back until the id of its run is known, since every event of a run carries it.

    Args:
        path: Path as it is shown, the first part of the run ids.
        ids: Ids of all runs that are or were followed; new ones are added.
        clock: For the time of the last growth.
    """

    def __init__(self, path: str, ids: set[str], clock: Clock) -> None:
        self.path = path
        self.tails: list[Tail] = []
        self.names: dict[str, str] = {}
        """Source names by stem; see `naming.source_name`."""
        self.open = False
        self.last_growth = clock.monotonic()
        self.ended_id = ""
        """Id of the run that ended by idle time, which goes on if its files grow; else empty."""
        self._id = ""
        self._ids = ids
        self._start = self._read_bytes = 0  # of the open run, and up to now, in bytes of text of all sources
        self._held: dict[str, bytearray] = {}
        self._last: dict[str, tuple[Tail, bytes]] = {}  # by source, the file of the latest text and its last byte
        self._problems: list[Problem] = []

    def add(self, tail: Tail) -> None:
        """Adds a file, in the order of sources and rotated parts."""
        self.tails.append(tail)
        self.tails.sort(key=lambda each: (natural_key(each.source), each.order, natural_key(each.shown)))

    def drop(self, tails: list[Tail]) -> list[Tail]:
        """Removes files that are gone, and returns those that were removed.

        A file with text of the ended run is kept while others of the run exist: if the run goes on and is read again, the
        file must be reported as missing.
        """
        if self.ended_id and len(tails) < len(self.tails):
            tails = [tail for tail in tails if not tail.is_in_run()]
        self.tails = [tail for tail in self.tails if tail not in tails]
        if tails:
            self._last = {}
            sources = {tail.source for tail in self.tails}
            self.names = {stem: source for stem, source in self.names.items() if source in sources}
        return tails

    def take(self, tail: Tail, text: bytes, now: float, handle: Handle) -> None:
        """Adds text to the open run, or to a new one."""
        if not self.open:
            self.open = True
            self._start = self._read_bytes
            self._last = {}
            for each in self.tails:
                each.mark_start(before=text if each is tail else b"")
        self.last_growth = tail.last_growth = now
        self._read_bytes += len(text)
        before, last = self._last.get(tail.source, (tail, b""))
        if before is not tail and last not in (b"\r", b"\n"):  # otherwise two lines would become one
            self._pass_on(tail.source, b"\n", handle)
        self._last[tail.source] = (tail, text[-1:])
        self._pass_on(tail.source, text, handle)

    def _pass_on(self, source: str, text: bytes, handle: Handle) -> None:
        if self._id:
            handle(Chunk(self._id, text, source))
            return
        self._held.setdefault(source, bytearray()).extend(text)
        first = self._held[min(self._held, key=natural_key)]
        if len(first) >= ID_BYTES or sum(map(len, self._held.values())) >= _HELD_BYTES:
            self._make_id(handle)

    def problem(self, problem: Problem, handle: Handle) -> None:
        """Reports a problem of the open run, as soon as its id is known."""
        if self._id:
            handle(replace(problem, run_id=self._id))
        else:
            self._problems.append(problem)

    def report_without_run(self, handle: Handle) -> None:
        """Reports the problems that wait, if there is no run that they could belong to."""
        problems, self._problems = (self._problems, []) if not self.open else ([], self._problems)
        for problem in problems:
            handle(replace(problem, source=""))

    def _make_id(self, handle: Handle) -> None:
        """Makes the run id from the beginning of the first source that has text, and passes on what was held back."""
        held, self._held = self._held, {}
        problems, self._problems = self._problems, []
        sources = sorted(held, key=natural_key)
        path = f"{self.path}@{self._start}" if self._start else self.path
        first = bytes(held[sources[0]][:ID_BYTES])
        self._id = run_id(path, first)
        again = 1
        while self._id in self._ids:
            again += 1
            self._id = run_id(f"{path}~{again}", first)
        self._ids.add(self._id)
        for source in sources:
            handle(Chunk(self._id, bytes(held[source]), source))
        for problem in problems:
            handle(replace(problem, run_id=self._id))

    def end(self, handle: Handle, by_pattern: bool = False) -> None:
        """Ends the open run, if there is one. White space alone behind an end line is not a run."""
        if not by_pattern and self.open:
            for tail in self.tails:
                if text := tail.rest():
                    self.take(tail, text, self.last_growth, handle)
        blank = self._start and not any(text.strip() for text in self._held.values())
        if self.open and not self._id and not blank:
            self._make_id(handle)
        run, self._id = self._id, ""
        self.open, self._held = False, {}
        self.ended_id = "" if by_pattern else run
        self.report_without_run(handle)
        if run:
            handle(RunEnd(run))

    def restart(self, handle: Handle) -> None:
        """Ends the open run after a file was emptied and written again: its next text begins a new run."""
        self.end(handle)
        self.ended_id = ""
        self._read_bytes = 0
        for tail in self.tails:
            if tail.shrunk():
                tail.restart()

    def rewind(self, handle: Handle) -> None:
        """Goes back to the start of the run that ended by idle time, to read it again under the same id."""
        self._id, self.ended_id = self.ended_id, ""
        self.open = True
        self._read_bytes, self._last = self._start, {}
        for tail in self.tails:
            if not tail.rewind():
                handle(Problem(tail.shown, "is gone and cannot be read again", self._id, tail.source))

    def release(self) -> None:
        """Closes the files."""
        for tail in self.tails:
            tail.release()
