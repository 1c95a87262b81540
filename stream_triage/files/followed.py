"""New text of a followed file or folder in; its runs, one after the other, out as events."""

import hashlib
from dataclasses import replace

from stream_triage.clock import Clock
from stream_triage.files.content import ContentDigest
from stream_triage.files.naming import natural_key, shown_name
from stream_triage.files.tail import Tail
from stream_triage.ports import Handle
from stream_triage.records import Chunk, Problem, RunEnd
from stream_triage.stages.decode import missing_line_end

__all__ = ["FollowedPath"]

_BLANK = b" \t\r\n\f\v\0"  # NUL: white space in UTF-16


class FollowedPath:
    """A file, or a folder with its files, of which the runs are read one after the other.

    Args:
        path: Path as it is shown, the first part of the run ids.
        identity: What does not change while the file or folder exists; with the path, it names the runs.
        clock: For the time of the last growth.
    """

    def __init__(self, path: str, identity: tuple[int, ...], clock: Clock) -> None:
        self.path = path
        self.tails: list[Tail] = []
        self.names: dict[str, str] = {}
        """Source names by stem; see `naming.source_name`."""
        self.open = False
        self.last_growth = clock.monotonic()
        self.ended_id = ""
        """Id of the run that ended by idle time, which goes on if its files grow; else empty."""
        self._identity = identity
        self._generation = 1
        self._id = self._run_path = ""
        self._content = ContentDigest()
        self._start = self._read_bytes = 0  # of the open run, and up to now, in bytes of all sources
        self._blank: list[tuple[str, bytes]] = []  # white space behind an end line, by source
        self._last: dict[str, tuple[Tail, bytes]] = {}  # by source, the file of the latest text and its last bytes
        self._problems: list[Problem] = []

    def add(self, tail: Tail) -> None:
        """Adds a file."""
        tail.late = bool(self.ended_id)
        self.tails.append(tail)
        self.sort()

    def sort(self) -> None:
        """Puts the files in the order of sources and rotated parts."""
        self.tails.sort(key=lambda each: (natural_key(each.source), each.order, natural_key(each.shown)))

    def drop(self, tails: list[Tail]) -> None:
        """Removes files that are gone.

        A file with text of the ended run is kept while others of the run exist: if the run goes on and is read again, the
        file must be reported as missing.
        """
        if self.ended_id and len(tails) < len(self.tails):
            tails = [tail for tail in tails if not tail.is_in_run()]
        self.tails = [tail for tail in self.tails if tail not in tails]
        if tails:
            self._last = {source: last for source, last in self._last.items() if last[0] in self.tails}
            sources = {tail.source for tail in self.tails}
            self.names = {stem: source for stem, source in self.names.items() if source in sources}

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
        if before is not tail and (line_end := missing_line_end(last)):  # otherwise two lines would become one
            self._pass_on(tail.source, line_end, handle)
            last = b""
        self._last[tail.source] = (tail, (last + text)[-8:])
        self._pass_on(tail.source, text, handle)

    def _pass_on(self, source: str, text: bytes, handle: Handle) -> None:
        if not self._id:
            if self._start and not text.strip(_BLANK):
                self._blank.append((source, text))
                return
            self._begin(handle)
        self._content.update(source, text)
        handle(Chunk(self._id, text, source))

    def _begin(self, handle: Handle) -> None:
        """Names the run by the file or folder, and passes on what was held back."""
        self._run_path = f"{self.path}@{self._start}" if self._start else self.path
        named = ":".join(map(str, (*self._identity, self._generation, self._start)))
        self._id = f"{shown_name(self._run_path)}#{hashlib.sha256(named.encode()).hexdigest()[:8]}"
        self._content = ContentDigest()
        blank, self._blank = self._blank, []
        problems, self._problems = self._problems, []
        for source, text in blank:
            self._pass_on(source, text, handle)
        for problem in problems:
            handle(replace(problem, run_id=self._id))

    def problem(self, problem: Problem, handle: Handle) -> None:
        """Reports a problem of the open run, or of the next one."""
        if self._id:
            handle(replace(problem, run_id=self._id))
        else:
            self._problems.append(problem)

    def report_without_run(self, handle: Handle) -> None:
        """Reports the problems that wait, if there is no run that they could belong to."""
        problems, self._problems = (self._problems, []) if not self.open else ([], self._problems)
        for problem in problems:
            handle(replace(problem, source=""))

    def end(self, handle: Handle, by_pattern: bool = False) -> None:
        """Ends the open run, if there is one. White space alone behind an end line is not a run."""
        run, self._id = self._id, ""
        self.open, self._blank = False, []
        self.ended_id = "" if by_pattern else run
        self.report_without_run(handle)
        if run:
            content = self._content
            handle(RunEnd(run, path=shown_name(self._run_path), content=content.hexdigest(), head=content.head()))

    def begin_generation(self, handle: Handle) -> None:
        """Ends the open run. What comes next is the first run of other files, or of another content."""
        self.end(handle)
        self.ended_id = ""
        self._generation += 1
        self._read_bytes = self._start = 0
        for tail in self.tails:
            tail.late = False

    def rewind(self, handle: Handle) -> None:
        """Goes back to the start of the run that ended by idle time, to read it again under the same id."""
        self._id, self.ended_id = self.ended_id, ""
        self.open = True
        self._content = ContentDigest()
        self._read_bytes, self._last = self._start, {}
        for tail in self.tails:
            tail.late = False
            if not tail.rewind():
                handle(Problem(tail.shown, "is gone and cannot be read again", self._id, tail.source))
