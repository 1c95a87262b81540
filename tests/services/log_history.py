"""A folder of logs that programs write, and that are rotated, truncated, overwritten, deleted and compressed at random.

The folder knows which lines must arrive at a reader, and of which lines nobody can know that they existed.
"""

import gzip
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import triage_ship.files
import triage_ship.logfile
import triage_ship.reader

import stream_triage.files.follow
import stream_triage.files.logfile
import stream_triage.files.reader

__all__ = ["Inodes", "Log", "World"]

SOURCES = ("gnb.log", "ue.log")
STEPS = 22
STARTED = 1_790_000_000


class Inodes:
    """Gives new files the inodes of deleted ones, as disks do; a file system in memory never does."""

    def __init__(self, births: bool) -> None:
        self._births = births
        self._given: dict[int, int] = {}
        self.is_open: Callable[[int], bool] = lambda inode: False

    def reuse(self, old: int, new: int) -> None:
        """Gives the file with inode `new` the inode `old`, unless a reader has that open."""
        if not self.is_open(self.of(old)):
            self._given[new] = self.of(old)

    def of(self, inode: int) -> int:
        return self._given.get(inode, inode)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Makes the readers see these inodes, and birth times only if there are any."""
        with ExitStack() as patches:
            for package in (triage_ship, stream_triage.files):
                status_of, birth_time = package.file_status.status_of, package.file_status.birth_time

                def status(file: Any, status_of: Any = status_of) -> Any:
                    found = status_of(file)
                    return found._replace(inode=self.of(found.inode))

                def birth(file: Any, birth_time: Any = birth_time) -> int:
                    # The real inode, since it is another one for each file: births may fall into one tick of the clock.
                    return os.stat(file).st_ino if self._births else 0

                for module in (package.logfile, package.reader, *([triage_ship.files] if package is triage_ship else [])):
                    patches.enter_context(mock.patch.object(module, "status_of", status))
                    patches.enter_context(mock.patch.object(module, "birth_time", birth))
            patches.enter_context(mock.patch.object(stream_triage.files.follow, "birth_time", return_value=0))
            yield


class Log:
    """A program that writes a log, and what happens to its file. Lines are never the same, but for heads that are copied."""

    def __init__(self, path: Path, rng: random.Random, clock: Callable[[], float], inodes: Inodes) -> None:
        self.path, self._rng, self._clock, self._inodes = path, rng, clock, inodes
        self.contents: list[list[bytes]] = [[]]  # lines of each content, one after the other
        self.sure: Counter[bytes] = Counter()  # lines that must arrive
        self.unknowable: Counter[bytes] = Counter()  # lines of which nobody can know that they existed
        self.torn: set[bytes] = set()
        self._settled = False
        self._polled = 0  # how many contents there were at the last poll
        self._was_empty = True
        self._polled_size = 0
        self._destroyed: list[list[bytes]] = []
        self._destroyed_at_poll = 0
        self.was_hidden = False
        self._hidden = False  # overwritten so that neither size nor time show it
        self._copied: list[bytes] = []
        self._seen_inodes: set[int] = set()
        self._number = 0
        self._partial = b""
        self._file: Any = None
        self._appends = rng.random() < 0.7
        self._previous = 0
        self._dates = rng.random() < 0.3
        self._rotations = 0

    def line(self) -> bytes:
        self._number += 1
        size = self._rng.choice((0, 3, 40, 200))
        return b"%s %03d %s\n" % (self.path.stem.encode(), self._number, b"x" * self._rng.randrange(size + 1))

    def _opened(self) -> Any:
        if self._file is None:
            created = not self.path.exists()
            mode = os.O_CREAT | os.O_WRONLY | (os.O_APPEND if self._appends else 0)
            self._file = os.open(self.path, mode, 0o644)
            os.lseek(self._file, 0, os.SEEK_END)
            if created and self._previous and self._rng.random() < 0.5:
                self._inodes.reuse(self._previous, os.fstat(self._file).st_ino)
                self._previous = 0
        return self._file

    def _write(self, text: bytes) -> None:
        self._hidden = False
        os.write(self._opened(), text)
        self._touch(self._file)

    def _touch(self, file: Any) -> None:
        stamp = int((STARTED + self._clock()) * 1e9) + self._rng.randrange(10**6)
        os.utime(file, ns=(stamp, stamp))

    def append(self) -> None:
        text = b""
        if not self._appends and self.path.exists() and os.lseek(self._opened(), 0, os.SEEK_CUR) > self.path.stat().st_size:
            self._settled = False  # behind NUL bytes
        if self._partial:
            text, self._partial = self._partial, b""
        for _ in range(self._rng.randrange(1, 5)):
            line = self.line()
            self.contents[-1].append(line)
            text += line
        if self._rng.random() < 0.2:
            line = self.line()
            self.contents[-1].append(line)
            cut = self._rng.randrange(1, len(line))
            text, self._partial = text + line[:cut], line[cut:]
        self._write(text)

    def _tear(self) -> None:
        """A line of which only a part was written goes with its file."""
        if self._partial:
            self.torn.add(self.contents[-1].pop())
            self._partial = b""

    def _new_content(self) -> None:
        self._tear()
        if len(self.contents) > self._polled or self._was_empty:  # it came and went between two polls
            self.unknowable.update(self.contents[-1])
        self._settled = False
        self._polled_size = 0
        self._destroyed.append(self.contents[-1])
        self.contents.append([])

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None

    def _make_room(self) -> Path:
        """The path for the next rotated file; those that have numbers move up."""
        self._rotations += 1
        if self._dates:
            return self.path.with_name(f"{self.path.name}-202611{self._rotations:02d}")
        for number in range(30, 0, -1):
            for suffix in ("", ".gz"):
                old = self.path.with_name(f"{self.path.name}.{number}{suffix}")
                if old.exists():
                    old.rename(self.path.with_name(f"{self.path.name}.{number + 1}{suffix}"))
        return self.path.with_name(f"{self.path.name}.1")

    def rotate(self) -> None:
        """Renames the file; the program may write some more lines into it."""
        if not self.path.exists() or not self.path.stat().st_size:
            return
        if self._file is None:
            self._opened()
        self.path.rename(self._make_room())
        if self._rng.random() < 0.5:
            self.append()
        self._finish_line()
        self._close()
        self._settled = False
        self._polled_size = 0
        self.contents.append([])
        self._opened()

    def _finish_line(self) -> None:
        if self._partial:
            self._write(self._partial)
            self._partial = b""

    def compress(self) -> None:
        """Compresses a rotated file that was there when the reader looked last."""
        rotated = [path for path in self.path.parent.glob(f"{self.path.name}?*") if path.suffix != ".gz"]
        rotated = [path for path in rotated if path.stat().st_ino in self._seen_inodes]
        if rotated:
            path = self._rng.choice(sorted(rotated))
            status = path.stat()
            packed = path.with_name(f"{path.name}.gz")
            packed.write_bytes(gzip.compress(path.read_bytes(), 1))
            os.utime(packed, ns=(status.st_mtime_ns, status.st_mtime_ns))
            path.unlink()

    def copy(self) -> bool:
        """The first half of `copytruncate`."""
        if not self.path.exists() or not self.path.stat().st_size:
            return False
        self._finish_line()
        copy = self._make_room()
        copy.write_bytes(self.path.read_bytes())
        self._touch(copy)
        self._copied = list(self.contents[-1])
        return True

    def truncate(self, copied: bool) -> None:
        if not self.path.exists():
            return
        if copied:
            self.unknowable.update(line for line in self.contents[-1] if line not in self._copied)
        self._new_content()
        os.truncate(self.path, 0)
        if self._rng.random() < 0.5:
            self.append()

    def overwrite(self) -> None:
        """The next test writes a log of its own over the old one: longer, shorter or as long, perhaps with the same head."""
        if not self.path.exists():
            return
        raw, polled = self.path.read_bytes(), self._polled_size
        old = raw.lstrip(b"\0")
        self._new_content()
        self._close()
        head = old[: old.rfind(b"\n", 0, self._rng.choice((0, 257, 600))) + 1] if self._rng.random() < 0.6 else b""
        lines = head.splitlines(keepends=True)
        size = self._rng.choice((len(head) + 1, len(old), len(old) + 300, len(old) * 2))
        while sum(map(len, lines)) < size:
            lines.append(self.line())
        if len(lines) > 1 and self._rng.random() < 0.3 and (more := len(old) - sum(map(len, lines[:-1]))) > 20:
            lines[-1] = (b"%s %03d " % (self.path.stem.encode(), self._number)).ljust(
                more - 1, b"y"
            ) + b"\n"  # the same size
        new = b"".join(lines)
        if polled and new[:polled] == raw[:polled]:
            # No different from lines that were appended: nobody can know what had been written since the last poll.
            self.contents.pop()
            before = self.contents[-1]
            same = next((index for index, line in enumerate(before) if line not in lines[index : index + 1]), len(before))
            self.unknowable.update(before[same:])
            self.contents[-1], self._polled_size = lines, polled
        else:
            self.contents[-1] = lines
        stamp, size_before = self.path.stat().st_mtime_ns, self.path.stat().st_size
        self.path.write_bytes(b"".join(lines))
        if self._rng.random() < 0.9:
            self._touch(self.path)
        else:
            os.utime(self.path, ns=(stamp, stamp))
            self._hidden = self.path.stat().st_size == size_before
            self.was_hidden = self.was_hidden or self._hidden

    def delete(self) -> None:
        if self.path.exists():
            self._new_content()
            self._close()
            self._previous = self.path.stat().st_ino
            self.path.unlink()
            if self._rng.random() < 0.7:
                self.append()

    def polled(self, *, settled: bool, whole: bool) -> None:
        """Notes what a reader has seen by now: whole lines of a file to which nothing else happened since it was settled."""
        self._settled = self._settled or settled
        self._polled = len(self.contents)
        self._destroyed_at_poll = len(self._destroyed)
        self._polled_size = self.path.stat().st_size if self.path.exists() else 0
        self._was_empty = not self.path.exists() or not self.path.stat().st_size
        self._seen_inodes = {path.stat().st_ino for path in self.path.parent.glob(f"{self.path.name}*")}
        if whole and self._settled and not self._hidden and self.path.exists():
            whole = len(self.contents[-1]) - bool(self._partial)
            self.sure |= Counter(self.contents[-1][:whole])

    def killed(self, arrived: bytes) -> None:
        """Notes that the reader was killed: of a file from which nothing was sent, the next one knows nothing."""
        self._settled = False
        raw = self.path.read_bytes() if self.path.exists() else b""
        self._polled_size = max((raw.rfind(line) + len(line) for line in self.contents[-1] if line in arrived), default=0)
        self._was_empty = self._was_empty or not any(line in arrived for line in self.contents[-1])
        for index, content in enumerate(self._destroyed):
            # The next reader may take the new content for one that it knows.
            if index >= self._destroyed_at_poll or not any(line in arrived for line in content):
                self.unknowable.update(content)
        self._destroyed_at_poll = 0
        self._destroyed = []

    def close(self) -> None:
        self._finish_line()
        self._close()


class World:
    """A folder of logs, and the steps of one history. Each step ends with a poll, after some seconds."""

    def __init__(self, folder: Path, rng: random.Random, inodes: Inodes) -> None:
        self.folder, self.rng, self.now = folder, rng, 1000.0
        self.logs = [Log(folder / name, rng, lambda: self.now, inodes) for name in SOURCES[: rng.choice((1, 1, 2))]]
        self.restart: Callable[[], None] | None = None
        self.arrived: Callable[[], bytes] = bytes
        self.was_killed = False  # during a poll
        self._steps = STEPS
        self._polls: list[float] = []
        self._copied: set[int] = set()
        self._last = False
        self._settling = False
        self._settled_contents = 0

    def step(self) -> bool:
        """Lets something happen and time pass; returns false when the history is over."""
        if self._polls:
            self.now += self._polls.pop()
            return True
        for log in self.logs:
            log.polled(settled=self._settling, whole=not self.was_killed)
            if self.was_killed:
                log.killed(self.arrived())
        self._settling = self.was_killed = False
        return self._act()

    def _settle(self) -> None:
        self._settling = True
        contents = sum(len(log.contents) for log in self.logs)
        self._polls = [4.0] * (8 + 2 * (contents - self._settled_contents))
        self._settled_contents = contents

    def _act(self) -> bool:
        self._steps -= 1
        if self._steps < 0:
            if self._last:
                return False
            self._last = True
            for index, log in enumerate(self.logs):
                if index in self._copied:
                    log.truncate(copied=True)
                log.append()
                log.close()
            self._settle()
            return self.step()
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            self._happen()
        if self.rng.random() < 0.15:
            self._settle()
            return self.step()
        self.now += self.rng.choice((0.1, 1.0, 4.0))
        return True

    def _happen(self) -> None:
        index = self.rng.randrange(len(self.logs))
        log = self.logs[index]
        if index in self._copied:
            self._copied.discard(index)
            if self.rng.random() < 0.3:
                log.append()
            log.truncate(copied=True)
            return
        events: list[tuple[float, Callable[[], object]]] = [
            (50, log.append),
            (10, log.rotate),
            (8, log.compress),
            (8, lambda: log.copy() and self._copied.add(index)),
            (4, lambda: log.truncate(copied=False)),
            (6, log.overwrite),
            (4, log.delete),
            (10, self._restart),
        ]
        weights, happening = zip(*events, strict=True)
        self.rng.choices(happening, weights)[0]()

    def _restart(self) -> None:
        if self.restart:
            self.restart()
            for log in self.logs:
                log.killed(self.arrived())
