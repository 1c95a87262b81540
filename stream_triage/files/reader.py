"""The paths of files that are followed in; which of them is which file, and what is new in each, out.

This is the one engine with which triage-ship and `stream-triage run --follow` read files that grow. It knows what happened
to a file: renamed, deleted, replaced by another one, truncated, overwritten, copied, compressed. What a run is, and when
it ends, is decided by its callers. docs/lab.md of stream-triage says what is guaranteed.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .copies import Copies, content_of, is_packed
from .file_status import Identity, Status, birth_time, status_of
from .fingerprint import Content, Fingerprint, pieces_of
from .logfile import LogFile

__all__ = ["Found", "LogFile", "Reader", "Remembered", "Report", "is_packed"]

_MOST_GENERATIONS = 10_000
DELETED = "was deleted"


Kind = Literal["note", "unreadable", "possible loss", "loss"]


class Report(NamedTuple):
    """What happened to a file.

    Attributes:
        path: Of the file.
        reason: What happened, to be read after the path.
        kind: Whether lines are missing: surely, possibly, or only as long as the file is unreadable. A note says what
            happened without loss.
        file: What was being read of it, if anything.
    """

    path: Path
    reason: str
    kind: Kind
    file: LogFile | None = None


class Found(NamedTuple):
    """What is new since the last scan.

    Attributes:
        files: Files to read, in the order of the entries.
        packed: Compressed files that are no copies of what was read. They are in each result as long as they exist.
        changed: Complete files that have changed since.
    """

    files: list[LogFile]
    packed: list[Path]
    changed: list[LogFile]


class Remembered(NamedTuple):
    """How far a file was read before a restart.

    Attributes:
        state: Of its `Fingerprint`.
        base: Its path before rotation.
        birth: Its birth time, 0 if it is not known.
        modified: When it was modified last, in nanoseconds, 0 if it is not known.
        generation: Which content of the file this is.
    """

    state: dict[str, Any]
    base: Path
    birth: int = 0
    modified: int = 0
    generation: int = 1


class Reader:
    """Keeps track of files.

    Call `scan` with the files that exist now, then `read` for each file until it returns nothing. A file with `ended` set
    is followed by its `successor`, if it has one.

    Args:
        report: Called with what happened to files.
        remember: Returns what is remembered of the file with this device and inode, if anything.
        lock: Called with the descriptor and path of each file that is opened first; if it returns false, the file is not
            read now.
        most_open: How many files are kept open that were read to their end.
    """

    def __init__(
        self,
        report: Callable[[Report], None],
        remember: Callable[[tuple[int, int]], Remembered | None] = lambda key: None,
        lock: Callable[[int, Path], bool] = lambda descriptor, path: True,
        most_open: int = 256,
    ) -> None:
        self._report, self._remember, self._lock, self._most_open = report, remember, lock, most_open
        self.files: dict[tuple[int, int], LogFile] = {}
        """The present content of each file, by device and inode."""
        self.unresolved: list[LogFile] = []
        """Contents that are gone or were overwritten. There may be a copy with the rest."""
        self._copies = Copies()
        self._bases: set[Path] = set()
        self._generations: dict[Identity, int] = {}  # of files that are gone
        self._reported: set[tuple[Path, str]] = set()

    def scan(self, entries: Iterable[tuple[Path, Path]], now: float) -> Found:
        """Finds out what happened to the files since the last scan.

        Args:
            entries: The path of each file that exists, and its path before rotation, which is the same if it was not
                rotated. A name for each generation of a log, the current one included.
            now: The time, in seconds.
        """
        unresolved = list(self.unresolved)
        present: set[tuple[int, int]] = set()
        unknown: list[tuple[Path, Path, Status]] = []
        for path, base in entries:
            try:
                status = status_of(path)
            except OSError:
                continue
            if status.regular and not self._find(path, base, status, present):
                unknown.append((path, base, status))
        self._miss(present)
        self._watch()
        found = Found([], [], [file for file in self.files.values() if file.complete and file.unread(file.status)])
        waiting = set[Path]()
        # First those that were not rotated or are remembered: they may have been overwritten, and the others may be copies.
        for path, base, status in sorted(
            unknown, key=lambda entry: entry[0] != entry[1] and not self._remember(entry[2][:2])
        ):
            if (path != base or is_packed(path)) and self._is_copy(path, base, status, waiting, now):
                continue
            if is_packed(path):
                found.packed.append(path)
            elif file := self._begin(path, base, status, now):
                found.files.append(file)
        order = {path: index for index, (path, _, _) in enumerate(unknown)}
        found.files.sort(key=lambda file: order[file.path])
        for file in unresolved:
            if file in self.unresolved and file.base not in waiting:
                self._lose(file)
        self._forget({path for path, _, _ in unknown}, {base for _, base, _ in unknown})
        return found

    def read(self, file: LogFile, now: float, patient: bool = True) -> tuple[int, bytes]:
        """What `LogFile.read` returns. What happened to the content before is reported."""
        skipped = file.skipped
        position, data = file.read(now, patient)
        if file.skipped > skipped:
            self._say(file.path, f"{file.skipped - skipped} NUL bytes before byte {position} are skipped", file=file)
        self._after(file, now)
        return position, data

    def verify(self, file: LogFile, now: float) -> bool:
        """Whether the file still begins with what was read. To be asked before its run ends, when it has been read.

        If not, the content is followed by a successor, which is read from the beginning.
        """
        unchanged = file.verify()
        if unchanged and file.held_gap:
            self._say(file.path, f"{file.held_gap} NUL bytes at its end are skipped", file=file)
        if unchanged and file.has_filled_gap():
            self._say(file.path, "got text where NUL bytes had been skipped; that text is not read", "loss", file)
        self._after(file, now)
        return unchanged

    def restore(self, key: tuple[int, int], remembered: Remembered, now: float) -> LogFile:
        """A file that was not read to its end before a restart and is gone now. A copy may have the rest."""
        base = remembered.base
        file = LogFile(base, base, Identity(*key, remembered.birth), now, remembered.generation)
        file.seen = Fingerprint.of_state(remembered.state)
        file.gone = file.deleted = True
        file.replaced = DELETED
        self.unresolved.append(file)
        return file

    def remember_content(self, base: Path, content: Content | None) -> None:
        """A copy of this content, under a name for a rotated or compressed `base`, is not read again."""
        self._copies.remember(base, content)

    def knows(self, base: Path) -> bool:
        """Whether something was read under a path, or under the names that it had after rotation."""
        return base in self._bases

    def limit_open(self) -> None:
        """Closes complete files, and of the others those that have not grown for longest, beyond `most_open`."""
        opened = [file for file in self.files.values() if file.descriptor is not None]
        for file in opened:
            if file.complete:
                file.release()
        opened = sorted((file for file in opened if file.descriptor is not None), key=lambda file: file.grown_at)
        for file in opened[: max(0, len(opened) - self._most_open)]:
            if not file.gone and not file.unread():
                file.release()

    def close(self) -> None:
        """Closes all files."""
        for file in [*self.files.values(), *self.unresolved]:
            file.release()

    def _find(self, path: Path, base: Path, status: Status, present: set[tuple[int, int]]) -> bool:
        """Whether the file is known. Notes its present name."""
        key = status[:2]
        file = self.files.get(key)
        if file is None:
            return False
        if file.descriptor is None and status != file.status and birth_time(path) != file.identity.birth:
            return False  # another file has got the inode
        if key not in present or path == base:  # of two hard links, the name that was not rotated
            file.path, file.base, file.gone, file.deleted, file.status = path, base, path != base, False, status
        present.add(key)
        return True

    def _miss(self, present: set[tuple[int, int]]) -> None:
        """Notes which files are gone. An open one can still be read."""
        for key, file in list(self.files.items()):
            if key in present:
                continue
            file.gone = file.deleted = True
            if file.complete or file.ended or file.descriptor is None:
                file.release()
                del self.files[key]
                self._leave(file)

    def _watch(self) -> None:
        """Notices that files were overwritten of which nothing was read yet, since they wait for others."""
        for file in self.files.values():
            if not file.seen.size and not file.ended and not file.watch():
                self._copies.compare_again(file.path.parent)
                self._say(file.path, "was overwritten before it was read; lines may be missing", "possible loss", file)

    def _begin(self, path: Path, base: Path, status: Status, now: float) -> LogFile | None:
        """Opens a file that is read for the first time, or for the first time after a restart."""
        key = status[:2]
        try:
            birth = birth_time(path)
            identity = Identity(*key, birth)
            generation = self._generations.get(identity, 0) + 1  # more than 1 if the system has given an inode again
            before, file = self.files.get(key), LogFile(path, base, identity, now, generation)
            file.open()
        except FileNotFoundError:  # it has gone since the caller saw it
            return None
        except OSError as error:
            self._say(path, f"cannot be read: {error.strerror}; it is tried again", "unreadable")
            return None
        assert file.descriptor is not None
        if not self._lock(file.descriptor, path):
            file.release()
            return None
        self._reported -= {entry for entry in self._reported if entry[0] == path}
        file.gone = path != base
        if not birth:
            self._say(
                path.parent,
                "is on a file system without birth times; a file that is deleted and created again may be recognised by its "
                "content alone",
            )
        self.files[key] = file
        file.watch()
        if before is not None:  # the inode of a deleted file, which had not been open
            self._leave(before)
        elif (remembered := self._remember(key)) and (not remembered.birth or birth in (0, remembered.birth)):
            file.generation = remembered.generation
            file.resume(Fingerprint.of_state(remembered.state), remembered.modified)
            self._after(file, now)
        return file

    def _leave(self, file: LogFile) -> None:
        """Notes that a file is gone, which is not open. If it was not complete, a copy may have the rest."""
        file.gone = file.deleted = True
        self._generations[file.identity] = file.generation
        while len(self._generations) > _MOST_GENERATIONS:
            del self._generations[next(iter(self._generations))]
        if file.complete or file.ended:
            file.ended = True
            self.remember_content(file.base, file.seen.content)
        else:
            file.replaced = DELETED
            self.unresolved.append(file)

    def _after(self, file: LogFile, now: float) -> None:
        """Prepares for the next content of a file whose content was replaced."""
        if file.replaced and file.successor is None and file not in self.unresolved and not file.ended:
            successor = LogFile(file.path, file.base, file.identity, now, file.generation + 1)
            successor.gone, successor.deleted = file.gone, file.deleted
            successor.descriptor, file.descriptor = file.descriptor, None
            successor.watch()
            self.files[file.key] = file.successor = successor
            self.unresolved.append(file)
        if file.failure:
            self._say(file.path, f"its copy cannot be read to the end: {file.failure}", "loss", file)
            file.failure = ""

    def _is_copy(self, path: Path, base: Path, status: Status, waiting: set[Path], now: float) -> bool:
        """Whether a rotated or compressed file has what was read already. If it has more, the rest is read from it."""
        try:
            identity = Identity(*status[:2], birth_time(path))
        except OSError:
            return True
        before = self._copies.is_copy(path, identity, status)
        if before is not None and not any(file.base == base for file in self.unresolved):
            return before
        for file in [file for file in self.files.values() if file.base == base]:
            file.check()
            self._after(file, now)
        unresolved = [file for file in self.unresolved if file.base == base]
        files = [*unresolved, *(file for file in self.files.values() if file.base == base)]
        copy = self._copies.compare(path, base, identity, status, files)
        if copy is None:
            return False
        self._say(path, f"is a copy of what was read as {base.name}; it is not read again")
        if copy.of in unresolved and not copy.whole:
            waiting.add(base)  # it is still being compressed
        elif copy.of in unresolved:
            self._resolve(copy.of, path, copy.length)
        return True

    def _resolve(self, file: LogFile, path: Path, length: int) -> None:
        """Lets a file that is gone or overwritten be read to its end from a copy."""
        self.unresolved.remove(file)
        self.remember_content(file.base, file.seen.content)
        file.copy = content_of(path)
        self.remember_content(file.base, file.copy)
        more = max(0, length - file.seen.size)
        if more:
            file.continue_from(pieces_of(path))
        else:
            file.ended = True
        self._say(file.path, f"{file.replaced}; its copy {path} has {more} more bytes, which are read", file=file)

    def _lose(self, file: LogFile) -> None:
        """Reports that there is no copy of a file with what was not read of it."""
        self.unresolved.remove(file)
        self.remember_content(file.base, file.seen.content)
        file.ended = True
        if not file.seen.size and not (file.status and file.status.size):
            return
        again = "; it is read from its beginning" if file.successor else ""
        certain = file.replaced == DELETED and file.status is not None and file.status.size > file.seen.size
        words = f"{file.replaced}{again}; lines written after byte {file.seen.size} {'are' if certain else 'may be'} missing"
        self._say(file.path, words, "loss" if certain else "possible loss", file)

    def _forget(self, paths: set[Path], bases: set[Path]) -> None:
        """Forgets copies that are gone, and what was read under paths of which no file exists any more."""
        bases = self._bases = bases | {file.base for file in [*self.files.values(), *self.unresolved]}
        self._copies.forget(paths, bases)
        known = paths | bases | {file.path for file in self.files.values()} | {base.parent for base in bases}
        self._reported = {(path, reason) for path, reason in self._reported if path in known}

    def _say(self, path: Path, reason: str, kind: Kind = "note", file: LogFile | None = None) -> None:
        if kind in ("possible loss", "loss") or (path, reason) not in self._reported:
            self._reported.add((path, reason))
            self._report(Report(path, reason, kind, file))
