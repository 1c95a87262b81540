"""Files that still grow in; the events of their runs out, until interrupted.

`Reader` knows what happened to each file. Here is decided which runs there are, and when they end. The files are polled,
which works on every file system, network file systems included.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from stream_triage.clock import Clock
from stream_triage.files.file_status import birth_time
from stream_triage.files.followed import FollowedPath
from stream_triage.files.listing import Listed, Listing, is_gone, list_files
from stream_triage.files.logfile import LogFile
from stream_triage.files.naming import folder_of, is_packed, kind_of, part_of, source_name
from stream_triage.files.plaintext import NotText
from stream_triage.files.reader import Reader, Report
from stream_triage.files.tail import Tail
from stream_triage.files.unpack import Damage, reason_of
from stream_triage.ports import Handle
from stream_triage.records import Problem, Tick
from stream_triage.settings import FollowSettings, InputSettings

__all__ = ["Follower"]

# How long a renamed file must not have grown before the one that took its name is read: its writer may have it open still.
_ROTATE_SECONDS = 3.0
_MOST_CONTENTS = 5  # of one file, in one poll

Identity = tuple[int, int]


class Follower:
    """Watches files, folders and patterns, and reads what is appended to their files.

    A run ends at a line that matches the end pattern (text behind it begins the next run), or when nothing has come for
    the idle time. If a file grows after that, its run is read again from the start under the same id, so that the longer
    verdict replaces the shorter one. Files that appear in a folder after the idle time, and files that are truncated,
    overwritten or replaced, begin a run of their own. Empty files are not runs yet.

    An end line in one source of a folder run ends the run for all sources, after the others were read to their present end
    or to their own end line. What they get later belongs to the next run of the folder.

    A run is named at first sight, by its path and by what does not change while its file or folder exists.

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
        self._finished: dict[
            tuple[Identity, Path], tuple[int, bool]
        ] = {}  # size when last seen; whether it was read or skipped
        self._reported: set[tuple[str, str]] = set()
        self._reports: list[Report] = []
        self._reader = Reader(self._reports.append)
        self._listed: dict[Path, Listed] = {}
        self._polls = 0
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
            if asleep:  # somebody who sees a test end and presses Ctrl-C wants its last lines
                self._read_all(self._clock.monotonic(), handle, patient=False)
            for followed in self._followed:
                self._end(followed, handle)
            raise
        finally:
            self._reader.close()

    def _poll(self, handle: Handle) -> None:
        now = self._clock.monotonic()
        listing = list_files(self._paths, self._settings.passes_over)
        for problem in listing.problems:
            missing = problem.reason == "does not exist"
            self._report(replace(problem, reason="does not exist yet", error=False) if missing else problem, handle)
        self._notice(listing, now, handle)
        self._first_poll = False
        self._read_all(now, handle)
        for followed in list(self._followed):
            if followed.open and now - followed.last_growth >= self._follow.idle_seconds:
                self._end_idle(followed, now, handle)
        self._pass_reports(handle)
        self._forget(listing, now)
        self._reader.limit_open()

    def _read_all(self, now: float, handle: Handle, patient: bool = True) -> None:
        """Reads what is new in all files. If one was overwritten, its next content is read as well."""
        for _ in range(_MOST_CONTENTS):
            for followed in list(self._followed):
                self._read(followed, now, handle, patient)
            if not any(tail.was_replaced for followed in self._followed for tail in followed.tails):
                break
            self._notice(list_files(self._paths, self._settings.passes_over), now, handle)

    def _report(self, problem: Problem, handle: Handle) -> None:
        if self._is_new(problem):
            handle(problem)

    def _is_new(self, problem: Problem) -> bool:
        """Whether the problem was not reported before. Each poll meets the same problems again."""
        known = (problem.path, problem.reason) in self._reported
        self._reported.add((problem.path, problem.reason))
        return not known

    def _pass_reports(self, handle: Handle) -> None:
        """Passes on what the reader has reported. Lines that are certainly missing are a problem of their run."""
        reports, self._reports[:] = list(self._reports), []
        for report in reports:
            tails = [
                (each, tail) for each in self._followed for tail in each.tails if report.file and tail.log is report.file
            ]
            shown = tails[0][1].shown if tails else os.fspath(report.path)
            problem = Problem(shown, report.reason, error=report.kind in ("unreadable", "loss"))
            if tails and report.kind == "loss" and tails[0][0].open:
                followed, tail = tails[0]
                followed.problem(replace(problem, source=tail.source), handle)
            elif report.kind in ("possible loss", "loss") or self._is_new(problem):
                handle(problem)

    def _notice(self, listing: Listing, now: float, handle: Handle) -> None:
        """Finds out what happened to the files since the last poll, and begins to follow new ones."""
        self._polls += 1
        by_path = self._listed = dict[Path, Listed]()
        for listed in listing.files:
            if listed.stream:
                problem = Problem(listed.shown, "is a pipe, which cannot be followed; read it as standard input")
                self._report(problem, handle)
            elif kind_of(listed.path.name) != "file":
                self._read_once(listed, handle)
            else:
                by_path[listed.path] = listed
        entries = [(path, self._base(path, by_path)) for path in by_path]
        # Rotated files come before the one that has their name now, so that they are read first.
        entries.sort(key=lambda entry: part_of(entry[0].name).order if entry[0] != entry[1] else (True, "", 1, True))
        found = self._reader.scan(entries, now)
        self._pass_reports(handle)
        packed = set(found.packed)
        for path, listed in by_path.items():
            if path in packed:
                self._read_once(listed, handle)
            elif is_packed(path.name):
                self._finished.setdefault((listed.identity, path), (listed.size, True))
        self._continue_contents(handle)
        for log in found.files:
            self._begin(by_path[log.path], log, now, handle)
        for followed in self._followed:
            for tail in followed.tails:
                tail.notice_writer(self._polls)
            followed.sort()

    def _base(self, path: Path, by_path: dict[Path, Listed]) -> Path:
        """The path that a file had before it was rotated or compressed, if there is or was such a file."""
        if is_packed(path.name) and self._reader.knows(path.with_suffix("")):
            return path.with_suffix("")
        part = part_of(path.name)
        base = path.with_name(part.stem)
        if base == path or not (part.rotated or is_packed(path.name)):
            return path
        return base if base in by_path or self._reader.knows(base) else path

    def _read_once(self, listed: Listed, handle: Handle) -> None:
        """Reads a packed file, which does not grow line by line. One that appears later is read when its size is stable."""
        key = (listed.identity, listed.path)
        size, done = self._finished.get(key) or self._under_its_name_before(listed)
        stable = self._first_poll or size == listed.size
        self._finished[key] = (listed.size, done or stable)
        if done or not stable:
            return
        if self._settings.run_by == "folder" and kind_of(listed.path.name) == "file":
            self._begin(listed, None, self._clock.monotonic(), handle)
        else:
            self._read_finished(listed, handle)

    def _under_its_name_before(self, listed: Listed) -> tuple[int, bool]:
        """What is known of a packed file that was renamed, as rotation does with all parts of a log."""
        for (identity, path), seen in self._finished.items():
            if identity == listed.identity and seen[0] == listed.size and is_gone(path, identity):
                return seen
        return -1, False

    def _begin(self, listed: Listed, log: LogFile | None, now: float, handle: Handle) -> None:
        if self._settings.run_by == "file":
            self._end_replaced(listed, now, handle)
        followed = self._followed_path(listed, log)
        stem = part_of(listed.path.name).stem
        source = source_name(stem, followed.names) if self._settings.run_by == "folder" else ""
        tail = Tail(listed, log, source, settings=self._settings, pattern=self._pattern, poll=self._polls)
        tail.has_writer = not self._first_poll
        followed.add(tail)

    def _followed_path(self, listed: Listed, log: LogFile | None) -> FollowedPath:
        by_folder = self._settings.run_by == "folder"
        path = folder_of(listed.shown) if by_folder else listed.shown
        if by_folder and path in self._folders:
            return self._folders[path]
        identity: tuple[int, ...] = (*log.identity, log.generation) if log else listed.identity
        if by_folder:
            folder = listed.path.parent
            identity = (folder.stat().st_dev, folder.stat().st_ino, birth_time(folder))
        followed = FollowedPath(path, identity, self._clock)
        self._followed.append(followed)
        if by_folder:
            self._folders[path] = followed
        return followed

    def _end_replaced(self, listed: Listed, now: float, handle: Handle) -> None:
        """Ends the run of a file whose name another file has now, when it has been read."""
        for followed in self._followed:
            if followed.open and followed.path == listed.shown:
                self._read(followed, now, handle)
                self._end(followed, handle)

    def _end_idle(self, followed: FollowedPath, now: float, handle: Handle) -> None:
        """Ends a run to which nothing has come, unless something was waiting or the files are not what was read."""
        self._read(followed, now, handle, patient=False)
        logs = [tail.log for tail in followed.tails if tail.log and tail.is_in_run() and not tail.log.ended]
        if now - followed.last_growth >= self._follow.idle_seconds and all(self._reader.verify(log, now) for log in logs):
            self._end(followed, handle)

    def _end(self, followed: FollowedPath, handle: Handle) -> None:
        self._pass_reports(handle)
        followed.end(handle)
        for tail in followed.tails:
            if tail.log:
                tail.log.complete = True

    def _read(self, followed: FollowedPath, now: float, handle: Handle, patient: bool = True) -> None:
        try:
            grown = [tail for tail in followed.tails if tail.grown()]
            if not grown:
                return
            if followed.ended_id and not self._goes_on(followed, grown, now, handle):
                return
            for tail in grown:
                if tail.log:
                    tail.log.complete = False
            self._read_tails(followed, now, handle, patient)
        except OSError as error:
            self._report(Problem(followed.path, f"cannot be read: {reason_of(error)}"), handle)
        followed.report_without_run(handle)

    def _goes_on(self, followed: FollowedPath, grown: list[Tail], now: float, handle: Handle) -> bool:
        """Goes on after the idle time: with the same run if its files have grown, with another one if there are new files.

        Returns false if a file was overwritten, so that the next poll decides.
        """
        if all(tail.late for tail in grown):
            followed.begin_generation(handle)
        elif all(self._reader.verify(tail.log, now) for tail in followed.tails if tail.log and tail.is_in_run()):
            followed.rewind(handle)
        else:
            return False
        return True

    def _continue_contents(self, handle: Handle) -> None:
        """Goes on with the next content of each file that was truncated or overwritten.

        It begins another run, unless the old content was copied first and the run has more than this file: copying is a
        way of rotating a log.
        """
        for followed in list(self._followed):
            for tail in list(followed.tails):
                following = tail.successor(self._polls)
                if following is None:
                    continue
                self._pass_reports(handle)
                if self._settings.run_by == "file":
                    self._end(followed, handle)
                    followed.ended_id = ""
                    self._add_content(following)
                    continue
                if not tail.was_copied:
                    followed.begin_generation(handle)
                followed.add(following)
                following.late = False

    def _add_content(self, tail: Tail) -> None:
        """Begins to follow the next content of a file that is a run of its own, under the present name of the file."""
        listed = self._listed.get(tail.path, tail.listed)
        tail.shown = listed.shown
        self._followed_path(listed, tail.log).add(tail)

    def _read_tails(self, followed: FollowedPath, now: float, handle: Handle, patient: bool) -> None:
        """Reads each file to its present end, but none past its end line before all others were read as far."""
        unread = [(tail, tail.appended(self._reader, now, patient)) for tail in followed.tails]
        while unread:
            waiting: set[str] = set()
            rest = []
            for tail, appended in unread:
                if tail.source not in waiting and self._read_tail(followed, tail, appended, now, handle):
                    rest.append((tail, appended))
                quiet = now - tail.last_growth >= _ROTATE_SECONDS and not tail.grown()
                if tail.was_replaced or (patient and tail.waits_for_writer and not quiet):
                    waiting.add(tail.source)  # late lines of a renamed file come before those of the next one
            unread = rest
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
                self._report(Problem(tail.shown, str(error), error=tail.explicit or not error.no_log), handle)
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
            for tail in followed.tails:
                if tail.log:
                    tail.log.complete = True
            followed.drop([tail for tail in followed.tails if self._is_gone(tail, known)])
            if not followed.tails:
                self._followed.remove(followed)
                self._folders.pop(followed.path, None)
        for identity, path in [key for key in self._finished if key not in known]:
            if is_gone(path, identity):
                del self._finished[identity, path]
        paths = {listed.shown for listed in listing.files} | {problem.path for problem in listing.problems}
        for followed in self._followed:
            paths.update((followed.path, *(tail.shown for tail in followed.tails)))
        self._reported = {(path, reason) for path, reason in self._reported if path in paths}

    def _is_gone(self, tail: Tail, known: set[tuple[Identity, Path]]) -> bool:
        if tail.log:
            return self._reader.files.get(tail.log.key) is not tail.log and tail.log not in self._reader.unresolved
        return (tail.identity, tail.path) not in known and is_gone(tail.path, tail.identity)
