"""Files that still grow in; the events of their runs out, until interrupted.

The files are polled, which works on every file system, network file systems included.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from stream_triage.clock import Clock
from stream_triage.files.followed import FollowedPath
from stream_triage.files.listing import Listed, Listing, is_gone, list_files
from stream_triage.files.naming import folder_of, is_packed, kind_of, part_of, source_name
from stream_triage.files.plaintext import NotText
from stream_triage.files.tail import Tail
from stream_triage.files.unpack import Damage, reason_of
from stream_triage.ports import Handle
from stream_triage.records import Problem, Tick
from stream_triage.settings import FollowSettings, InputSettings

__all__ = ["Follower"]

_OPEN_FILES = 256
_DONE = -1

Identity = tuple[int, int]


class Follower:
    """Watches files, folders and patterns, and reads what is appended to their files.

    A run ends at a line that matches the end pattern (text behind it begins the next run), or when nothing has come for
    the idle time. If a file grows after that, its run is read again from the start under the same id, so that the longer
    verdict replaces the shorter one. Empty files are not runs yet.

    An end line in one source of a folder run ends the run for all sources, after the others were read to their present end
    or to their own end line. What they get later belongs to the next run of the folder.

    A run has the id that it would have as a finished file. The exception is a source that comes first by name but gets its
    first text (or its first 4 KiB, while 256 KiB come in other sources) only after the id was made.

    Args:
        paths: Files, folders and glob patterns. They need not exist yet.
        settings: What a run is, and limits.
        follow: When a run ends.
        clock: For idle times and for sleeping between polls.
        read_finished: Reads a file that does not grow, for example an archive.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        settings: InputSettings,
        follow: FollowSettings,
        clock: Clock,
        read_finished: Callable[[Listed, Handle], None],
    ) -> None:
        self._paths, self._settings, self._follow, self._clock = paths, settings, follow, clock
        self._read_finished = read_finished
        self._pattern = re.compile(follow.end_pattern) if follow.end_pattern else None
        self._followed: list[FollowedPath] = []
        self._folders: dict[str, FollowedPath] = {}
        self._tails: dict[Identity, Tail] = {}
        self._by_path: dict[Path, Tail] = {}
        self._finished: dict[tuple[Identity, Path], int] = {}  # size when last seen; _DONE once read or skipped
        self._ids: set[str] = set()  # never forgotten: a run that begins like an earlier one must not replace it
        self._reported: set[tuple[str, str]] = set()
        self._first_poll = True

    def run(self, handle: Handle) -> None:
        """Polls until `KeyboardInterrupt`, then ends the open runs and raises it again."""
        asleep = False
        try:
            while True:
                self._poll(handle)
                handle(Tick())
                asleep = True
                self._clock.sleep(self._follow.poll_seconds)
                asleep = False
        except KeyboardInterrupt:
            for followed in list(self._followed):
                if asleep:  # somebody who sees a test end and presses Ctrl-C wants its last lines
                    self._read(followed, self._clock.monotonic(), handle)
                followed.end(handle)
            raise
        finally:
            for tail in self._tails.values():
                tail.release()

    def _poll(self, handle: Handle) -> None:
        listing = list_files(self._paths)
        for problem in listing.problems:
            missing = problem.reason == "does not exist"
            self._report(replace(problem, reason="does not exist yet", error=False) if missing else problem, handle)
        for listed in listing.files:
            self._notice(listed, handle)
        self._first_poll = False
        now = self._clock.monotonic()
        for followed in list(self._followed):
            self._read(followed, now, handle)
            if followed.open and now - followed.last_growth >= self._follow.idle_seconds:
                followed.end(handle)
                followed.release()
        self._forget(listing, now)
        self._limit_open_files()

    def _report(self, problem: Problem, handle: Handle) -> None:
        if self._is_new(problem):
            handle(problem)

    def _is_new(self, problem: Problem) -> bool:
        """Whether the problem was not reported before. Each poll meets the same problems again."""
        known = (problem.path, problem.reason) in self._reported
        self._reported.add((problem.path, problem.reason))
        return not known

    def _notice(self, listed: Listed, handle: Handle) -> None:
        """Decides what a listed file is: known, renamed, a rotated part, packed or new."""
        known = self._tails.get(listed.identity)
        if known and known.is_at(listed.path):
            known.path = listed.path
            return
        seen = self._finished.get((listed.identity, listed.path))
        if seen == _DONE:
            return
        if listed.stream:
            self._report(Problem(listed.shown, "is a pipe, which cannot be followed; read it as standard input"), handle)
        elif seen is None and not self._first_poll and self._is_rotated_copy(listed):
            self._finished[listed.identity, listed.path] = _DONE
            self._report(Problem(listed.shown, "is a rotated part of a file that was followed", error=False), handle)
        elif kind_of(listed.path.name) != "file" or is_packed(listed.path.name):
            self._read_once(listed, seen, handle)
        else:
            self._begin(listed, handle)

    def _is_rotated_copy(self, listed: Listed) -> bool:
        """Whether the text was read already, under the name that the file was rotated from."""
        part = part_of(listed.path.name)
        return (part.rotated or is_packed(listed.path.name)) and listed.path.with_name(part.stem) in self._by_path

    def _read_once(self, listed: Listed, seen: int | None, handle: Handle) -> None:
        """Reads a packed file, which does not grow line by line. One that appears later is read when its size is stable."""
        if not self._first_poll and seen != listed.size:
            self._finished[listed.identity, listed.path] = listed.size
            return
        self._finished[listed.identity, listed.path] = _DONE
        if self._settings.run_by == "folder" and kind_of(listed.path.name) == "file":
            self._begin(listed, handle)
        else:
            self._read_finished(listed, handle)

    def _begin(self, listed: Listed, handle: Handle) -> None:
        followed = self._followed_path(listed)
        part = part_of(listed.path.name)
        source = source_name(part.stem, followed.names) if self._settings.run_by == "folder" else ""
        tail = Tail(listed, source, part.order, self._settings, self._pattern)
        rotated_out = self._by_path.get(listed.path)
        self._tails[listed.identity] = self._by_path[listed.path] = tail
        if rotated_out:
            self._finish_rotated(rotated_out, handle)
        followed.add(tail)

    def _followed_path(self, listed: Listed) -> FollowedPath:
        by_folder = self._settings.run_by == "folder"
        path = folder_of(listed.shown) if by_folder else listed.shown
        if by_folder and path in self._folders:
            return self._folders[path]
        followed = FollowedPath(path, self._ids, self._clock)
        self._followed.append(followed)
        if by_folder:
            self._folders[path] = followed
        return followed

    def _finish_rotated(self, tail: Tail, handle: Handle) -> None:
        """Reads the rest of a file whose name another file has now. With `run_by` file, that ends its run."""
        for followed in self._followed:
            if tail in followed.tails:
                self._read(followed, self._clock.monotonic(), handle)
                tail.order = (True, "", 0, False)  # before the file that took its name
                if self._settings.run_by == "file":
                    followed.end(handle)
                    followed.release()
                return

    def _read(self, followed: FollowedPath, now: float, handle: Handle) -> None:
        try:
            grown = [tail for tail in followed.tails if tail.grown()]
            if not grown:
                return
            if any(tail.shrunk() for tail in grown):
                followed.restart(handle)
            elif followed.ended_id:
                followed.rewind(handle)
            self._read_tails(followed, now, handle)
        except OSError as error:
            self._report(Problem(followed.path, f"cannot be read: {reason_of(error)}"), handle)
        followed.report_without_run(handle)

    def _read_tails(self, followed: FollowedPath, now: float, handle: Handle) -> None:
        """Reads each file to its present end, but none past its end line before all others were read as far."""
        unread = [(tail, tail.appended()) for tail in followed.tails]
        while unread:
            unread = [item for item in unread if self._read_tail(followed, *item, now, handle)]
            if unread:
                followed.end(handle, by_pattern=True)

    def _read_tail(
        self, followed: FollowedPath, tail: Tail, appended: Iterator[tuple[bytes, bool]], now: float, handle: Handle
    ) -> bool:
        """Reads to the next end line, and returns whether there was one, so that there may be more text."""
        while True:
            try:
                text, ends = next(appended)
            except StopIteration:
                return False
            except NotText as error:
                self._report(Problem(tail.shown, str(error), error=tail.explicit), handle)
                return False
            except Damage as error:
                followed.problem(Problem(tail.shown, str(error), source=tail.source), handle)
                return False
            except OSError as error:  # tried again at each poll
                problem = Problem(tail.shown, f"cannot be read: {reason_of(error)}", source=tail.source)
                if self._is_new(problem):
                    followed.problem(problem, handle)
                return False
            followed.take(tail, text, now, handle)
            if ends:
                return True

    def _forget(self, listing: Listing, now: float) -> None:
        """Drops what is remembered of ended runs whose files are gone."""
        known = {(listed.identity, listed.path) for listed in listing.files}
        for followed in list(self._followed):
            if followed.open or now - followed.last_growth < self._follow.idle_seconds:
                continue
            gone = [tail for tail in followed.tails if (tail.identity, tail.path) not in known and tail.is_gone()]
            for tail in followed.drop(gone):
                tail.release()
                tail.dropped = True
                if self._tails.get(tail.identity) is tail:
                    del self._tails[tail.identity]
            if not followed.tails:
                self._followed.remove(followed)
                self._folders.pop(followed.path, None)
        for identity, path in [key for key in self._finished if key not in known]:
            if is_gone(path, identity):
                del self._finished[identity, path]
        self._forget_names(listing)

    def _forget_names(self, listing: Listing) -> None:
        """Drops the names of files that are gone, unless parts exist that may have been rotated from them."""
        gone = {path for path, tail in self._by_path.items() if tail.dropped}
        if gone:
            gone -= {listed.path.with_name(part_of(listed.path.name).stem) for listed in listing.files}
        for path in gone:
            del self._by_path[path]
        if gone:
            paths = {listed.shown for listed in listing.files} | {problem.path for problem in listing.problems}
            for followed in self._followed:
                paths.update((followed.path, *(tail.shown for tail in followed.tails)))
            self._reported = {(path, reason) for path, reason in self._reported if path in paths}

    def _limit_open_files(self) -> None:
        """Closes the files that have not grown for longest, beyond 256.

        Files are kept open so that their rest can be read after rotation; a process may not keep thousands open.
        """
        opened = [tail for tail in self._tails.values() if tail.is_open]
        for tail in sorted(opened, key=lambda tail: tail.last_growth)[: max(len(opened) - _OPEN_FILES, 0)]:
            tail.release()
