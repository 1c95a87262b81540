"""Files that still grow in; the chunks of their runs out, until interrupted. Polls; needs no help from the system."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from stream_triage.clock import Clock
from stream_triage.files.listing import Listed, Listing, is_gone, list_files
from stream_triage.files.naming import (
    ID_BYTES,
    folder_of,
    is_packed,
    kind_of,
    natural_key,
    part_of,
    run_id,
    source_name,
)
from stream_triage.files.plaintext import NotText
from stream_triage.files.tail import Tail
from stream_triage.files.unpack import Damage, reason_of
from stream_triage.records import Chunk, Event, Problem, RunEnd, Tick
from stream_triage.settings import FollowSettings, InputSettings

__all__ = ["Follower"]

_OPEN_FILES = 256
_DONE = -1
_HELD_BYTES = 256 * 1024  # what is held back at most, of all sources of a run, until its id can be made

Handle = Callable[[Event], None]
Identity = tuple[int, int]


class Follower:
    """Watches files, folders and patterns, and reads what is appended to the files they lead to.

    A run ends with a line that matches the end pattern (text behind it opens the next run), or when nothing came for
    the idle time. A file that grows after that is read again from the run's start, under the same id: the longer
    verdict replaces the shorter one. Empty files are no runs yet.

    An end line in one source of a folder run ends it for all of them, once the others were read to their present end
    or their own end line. What comes in them later belongs to the folder's next run.

    A run has the id it would have when read finished, unless a source that comes first by name has its first text
    (or its first 4 KiB, while 256 KiB come in others) only after the run was named.
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
        self._places: list[_Place] = []
        self._folders: dict[str, _Place] = {}
        self._tails: dict[Identity, Tail] = {}
        self._by_path: dict[Path, Tail] = {}
        self._finished: dict[tuple[Identity, Path], int] = {}  # size when last seen; _DONE once read or passed over
        self._ids: set[str] = set()  # never forgotten: what begins like a run of the past must not replace it
        self._told: set[tuple[str, str]] = set()
        self._first_poll = True

    def run(self, handle: Handle) -> None:
        """Polls until `KeyboardInterrupt`, then ends the open runs and lets it pass."""
        asleep = False
        try:
            while True:
                self._poll(handle)
                handle(Tick())
                asleep = True
                self._clock.sleep(self._follow.poll_seconds)
                asleep = False
        except KeyboardInterrupt:
            for place in list(self._places):
                if asleep:  # who sees a test end and interrupts wants its last lines
                    self._read(place, self._clock.monotonic(), handle)
                place.end(handle)
            raise
        finally:
            for tail in self._tails.values():
                tail.release()

    def _poll(self, handle: Handle) -> None:
        listing = list_files(self._paths)
        for problem in listing.problems:
            missing = problem.reason == "does not exist"
            self._tell(replace(problem, reason="does not exist yet", error=False) if missing else problem, handle)
        for listed in listing.files:
            self._notice(listed, handle)
        self._first_poll = False
        now = self._clock.monotonic()
        for place in list(self._places):
            self._read(place, now, handle)
            if place.open and now - place.last_growth >= self._follow.idle_seconds:
                place.end(handle)
                place.release()
        self._forget(listing, now)
        self._limit_open_files()

    def _tell(self, problem: Problem, handle: Handle) -> None:
        if self._is_new(problem):
            handle(problem)

    def _is_new(self, problem: Problem) -> bool:
        """Each poll sees the same problems; one report is enough."""
        told = (problem.path, problem.reason) in self._told
        self._told.add((problem.path, problem.reason))
        return not told

    def _notice(self, listed: Listed, handle: Handle) -> None:
        """Sorts out what a listed file is: known, renamed, rotated in, packed or new."""
        known = self._tails.get(listed.identity)
        if known and known.is_at(listed.path):
            known.path = listed.path
            return
        seen = self._finished.get((listed.identity, listed.path))
        if seen == _DONE:
            return
        if listed.stream:
            self._tell(Problem(listed.shown, "is a pipe, which cannot be followed; read it as standard input"), handle)
        elif seen is None and not self._first_poll and self._is_rotated_copy(listed):
            self._finished[listed.identity, listed.path] = _DONE
            self._tell(Problem(listed.shown, "is a rotated part of a file that was followed", error=False), handle)
        elif kind_of(listed.path.name) != "file" or is_packed(listed.path.name):
            self._read_once(listed, seen, handle)
        else:
            self._begin(listed, handle)

    def _is_rotated_copy(self, listed: Listed) -> bool:
        """Whether its text was read already, under the name it was rotated from."""
        part = part_of(listed.path.name)
        return (part.rotated or is_packed(listed.path.name)) and listed.path.with_name(part.stem) in self._by_path

    def _read_once(self, listed: Listed, seen: int | None, handle: Handle) -> None:
        """Packed files do not grow line by line. One that appears while we watch is read when its size stood still."""
        if not self._first_poll and seen != listed.size:
            self._finished[listed.identity, listed.path] = listed.size
            return
        self._finished[listed.identity, listed.path] = _DONE
        if self._settings.run_by == "folder" and kind_of(listed.path.name) == "file":
            self._begin(listed, handle)
        else:
            self._read_finished(listed, handle)

    def _begin(self, listed: Listed, handle: Handle) -> None:
        place = self._place_of(listed)
        part = part_of(listed.path.name)
        source = source_name(part.stem, place.names) if self._settings.run_by == "folder" else ""
        tail = Tail(listed, source, part.order, self._settings, self._pattern)
        rotated_out = self._by_path.get(listed.path)
        self._tails[listed.identity] = self._by_path[listed.path] = tail
        if rotated_out:
            self._rotated(rotated_out, handle)
        place.add(tail)

    def _place_of(self, listed: Listed) -> "_Place":
        by_folder = self._settings.run_by == "folder"
        path = folder_of(listed.shown) if by_folder else listed.shown
        if by_folder and path in self._folders:
            return self._folders[path]
        place = _Place(path, self._ids, self._clock)
        self._places.append(place)
        if by_folder:
            self._folders[path] = place
        return place

    def _rotated(self, tail: Tail, handle: Handle) -> None:
        """The rest of a file whose name another one has now. By file, that is the end of its run."""
        for place in self._places:
            if tail in place.tails:
                self._read(place, self._clock.monotonic(), handle)
                tail.order = (True, "", 0, False)  # before the file that took its name
                if self._settings.run_by == "file":
                    place.end(handle)
                    place.release()
                return

    def _read(self, place: "_Place", now: float, handle: Handle) -> None:
        try:
            grown = [tail for tail in place.tails if tail.grown()]
            if not grown:
                return
            if any(tail.shrunk() for tail in grown):
                place.begin_anew(handle)
            elif place.ended_id:
                place.rewind(handle)
            self._read_tails(place, now, handle)
        except OSError as error:
            self._tell(Problem(place.path, f"cannot be read: {reason_of(error)}"), handle)
        place.report_alone(handle)

    def _read_tails(self, place: "_Place", now: float, handle: Handle) -> None:
        """Each to its present end. No tail is read past its end line before all others were read that far."""
        unread = [(tail, tail.appended()) for tail in place.tails]
        while unread:
            unread = [(tail, appended) for tail, appended in unread if self._read_tail(place, tail, appended, now, handle)]
            if unread:
                place.end(handle, by_pattern=True)

    def _read_tail(
        self, place: "_Place", tail: Tail, appended: Iterator[tuple[bytes, bool]], now: float, handle: Handle
    ) -> bool:
        """Whether it was an end line that stopped the reading, so that there may be more."""
        while True:
            try:
                text, ends = next(appended)
            except StopIteration:
                return False
            except NotText as error:
                self._tell(Problem(tail.shown, str(error), error=tail.explicit), handle)
                return False
            except Damage as error:
                place.trouble(Problem(tail.shown, str(error), source=tail.source), handle)
                return False
            except OSError as error:  # tried again with each poll
                problem = Problem(tail.shown, f"cannot be read: {reason_of(error)}", source=tail.source)
                if self._is_new(problem):
                    place.trouble(problem, handle)
                return False
            place.give(tail, text, now, handle)
            if ends:
                return True

    def _forget(self, listing: Listing, now: float) -> None:
        """Drops what is remembered of ended runs whose files are gone."""
        known = {(listed.identity, listed.path) for listed in listing.files}
        for place in list(self._places):
            if place.open or now - place.last_growth < self._follow.idle_seconds:
                continue
            gone = [tail for tail in place.tails if (tail.identity, tail.path) not in known and tail.is_gone()]
            for tail in place.drop(gone):
                tail.release()
                tail.dropped = True
                if self._tails.get(tail.identity) is tail:
                    del self._tails[tail.identity]
            if not place.tails:
                self._places.remove(place)
                self._folders.pop(place.path, None)
        for identity, path in [key for key in self._finished if key not in known]:
            if is_gone(path, identity):
                del self._finished[identity, path]
        self._forget_names(listing)

    def _forget_names(self, listing: Listing) -> None:
        """A name is remembered for as long as there are parts that may have been rotated from it."""
        lost = {path for path, tail in self._by_path.items() if tail.dropped}
        if lost:
            lost -= {listed.path.with_name(part_of(listed.path.name).stem) for listed in listing.files}
        for path in lost:
            del self._by_path[path]
        if lost:
            paths = {listed.shown for listed in listing.files} | {problem.path for problem in listing.problems}
            for place in self._places:
                paths.update((place.path, *(tail.shown for tail in place.tails)))
            self._told = {(path, reason) for path, reason in self._told if path in paths}

    def _limit_open_files(self) -> None:
        """Files are kept open so that their rest can be read after they were rotated away; not all of thousands."""
        opened = [tail for tail in self._tails.values() if tail.is_open]
        for tail in sorted(opened, key=lambda tail: tail.last_growth)[: max(len(opened) - _OPEN_FILES, 0)]:
            tail.release()


class _Place:
    """A file, or a folder with its files, and the one run after the other that is read there."""

    def __init__(self, path: str, ids: set[str], clock: Clock) -> None:
        self.path = path
        self.tails: list[Tail] = []
        self.names: dict[str, str] = {}
        self.open = False
        self.last_growth = clock.monotonic()
        self.ended_id = ""  # of the run that ended by time and would go on
        self._id = ""
        self._ids = ids
        self._start = self._given = 0
        self._held: dict[str, bytearray] = {}
        self._last: dict[str, tuple[Tail, bytes]] = {}  # by source, the file that gave text last and its last byte
        self._troubles: list[Problem] = []

    def add(self, tail: Tail) -> None:
        self.tails.append(tail)
        self.tails.sort(key=lambda each: (natural_key(each.source), each.order, natural_key(each.shown)))

    def drop(self, tails: list[Tail]) -> list[Tail]:
        """Lets go of files that are gone, except those to be missed when the ended run is read again; gives them."""
        if self.ended_id and len(tails) < len(self.tails):
            tails = [tail for tail in tails if not tail.is_in_run()]
        self.tails = [tail for tail in self.tails if tail not in tails]
        if tails:
            self._last = {}
            sources = {tail.source for tail in self.tails}
            self.names = {stem: source for stem, source in self.names.items() if source in sources}
        return tails

    def give(self, tail: Tail, text: bytes, now: float, handle: Handle) -> None:
        """Text of the open run, or of a new one. It is held back until the run id can be made."""
        if not self.open:
            self.open = True
            self._start = self._given
            self._last = {}
            for each in self.tails:
                each.mark_start(before=text if each is tail else b"")
        self.last_growth = tail.last_growth = now
        self._given += len(text)
        before, last = self._last.get(tail.source, (tail, b""))
        if before is not tail and last not in (b"\r", b"\n"):  # else two lines would become one
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
            self._name(handle)

    def trouble(self, problem: Problem, handle: Handle) -> None:
        if self._id:
            handle(replace(problem, run_id=self._id))
        else:
            self._troubles.append(problem)

    def report_alone(self, handle: Handle) -> None:
        """What is wrong where there is no run to mark."""
        troubles, self._troubles = (self._troubles, []) if not self.open else ([], self._troubles)
        for problem in troubles:
            handle(replace(problem, source=""))

    def _name(self, handle: Handle) -> None:
        """Makes the run id from the beginning of the first source that has any, and lets go of what was held back."""
        held, self._held = self._held, {}
        troubles, self._troubles = self._troubles, []
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
        for problem in troubles:
            handle(replace(problem, run_id=self._id))

    def end(self, handle: Handle, by_pattern: bool = False) -> None:
        """Ends the open run, if any. White space alone behind an end line is no run."""
        if not by_pattern and self.open:
            for tail in self.tails:
                if text := tail.rest():
                    self.give(tail, text, self.last_growth, handle)
        blank = self._start and not any(text.strip() for text in self._held.values())
        if self.open and not self._id and not blank:
            self._name(handle)
        run, self._id = self._id, ""
        self.open, self._held = False, {}
        self.ended_id = "" if by_pattern else run
        self.report_alone(handle)
        if run:
            handle(RunEnd(run))

    def begin_anew(self, handle: Handle) -> None:
        """A file was emptied and written again: the next text is a run's first."""
        self.end(handle)
        self.ended_id = ""
        self._given = 0
        for tail in self.tails:
            if tail.shrunk():
                tail.restart()

    def rewind(self, handle: Handle) -> None:
        """Back to the start of the run that ended by time."""
        self._id, self.ended_id = self.ended_id, ""
        self.open = True
        self._given, self._last = self._start, {}
        for tail in self.tails:
            if not tail.rewind():
                handle(Problem(tail.shown, "is gone and cannot be read again", self._id, tail.source))

    def release(self) -> None:
        for tail in self.tails:
            tail.release()
