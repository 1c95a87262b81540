"""Paths from the command line in; the files to read out, in order and each once, and what is skipped."""

import errno
import os
import stat
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from wcmatch import glob

from stream_triage.files.naming import natural_key, shown_name
from stream_triage.files.unpack import reason_of
from stream_triage.records import Problem

__all__ = ["PASSED_OVER", "Listed", "Listing", "is_gone", "list_files"]

PASSED_OVER = "matches input.pass_over"
_MAGIC = frozenset("*?[")
_PATH_LEVELS = 2048  # folders in a path of 4,096 bytes, the most that Linux accepts


@dataclass(frozen=True, slots=True)
class Listed:
    """One file to read.

    `shown` is its path as it was given, printable. `explicit` says that the file itself was given, not only a folder or
    pattern. `stream` is true for a named pipe. `identity` is device and inode.
    """

    path: Path
    shown: str
    explicit: bool
    size: int
    stream: bool
    identity: tuple[int, int]


@dataclass(slots=True)
class Listing:
    """The files, and problems with the paths.

    `under` has an item for each folder and pattern that was read without error: the files (as `shown`) below it.
    """

    files: list[Listed] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    under: dict[str, set[str]] = field(default_factory=dict)


def list_files(paths: Sequence[str | Path], passes_over: Callable[[str], bool] = lambda name: False) -> Listing:
    """Lists files, folders (with everything below them) and glob patterns, in the order given, each in natural order.

    A file that is reached twice, also by a symbolic link, is listed once. Hard links are separate files. `passes_over` says
    by its name whether a file is passed over; a file that was given itself is listed in any case.
    """
    lister = _Lister(passes_over)
    for path in paths:
        lister.add(os.fspath(path))
    return lister.listing


def is_gone(path: Path, identity: tuple[int, int]) -> bool:
    """Whether a listed file is certainly no longer at this path. A path that cannot be checked does not count as gone."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return (status.st_dev, status.st_ino) != identity


class _Lister:
    def __init__(self, passes_over: Callable[[str], bool]) -> None:
        self.listing = Listing()
        self._passes_over = passes_over
        self._known: dict[tuple[int, int] | str, str] = {}
        self._visited: set[tuple[int, int]] = set()
        self._reported: set[tuple[str, str]] = set()

    def add(self, given: str) -> None:
        shown = _shown(given)
        self._visited = set()
        try:
            status = os.stat(given)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            if _MAGIC.intersection(given) and not os.path.lexists(given):
                self._add_all(shown, _matches(given))
            else:
                self._problem(shown, _missing(given, error))
            return
        if stat.S_ISDIR(status.st_mode):
            self._add_all(shown, [given])
        elif stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode):
            self._file(given, status, explicit=True)
        else:
            self._problem(shown, "is a device or socket, not a file")

    def _add_all(self, shown: str, paths: Iterable[str]) -> None:
        errors = sum(problem.error for problem in self.listing.problems)
        files = {file for path in paths for file in self._walk(path)}
        if errors == sum(problem.error for problem in self.listing.problems):
            self.listing.under.setdefault(shown, set()).update(files)

    def _walk(self, top: str) -> Iterator[str]:
        """Lists every file at or below `top`, and yields it as shown.

        The folders are kept on a stack, since they may be nested deeper than Python calls may be. Links come last, so that a
        file is listed under its own name and not under that of a link `latest`.
        """
        stack, links = [top], deque[str]()
        while stack or links:
            path = stack.pop() if stack else links.popleft()
            if path != top and os.path.basename(path).startswith("."):
                self._problem(_shown(path), "is hidden", error=False)
                continue
            try:
                status = os.stat(path)
                if stat.S_ISDIR(status.st_mode):
                    own, linked = self._children(path, status)
                    stack.extend(reversed(own))
                    links.extend(linked)
                    continue
            except OSError as error:
                dangling = error.errno in (errno.ENOENT, errno.ELOOP) and os.path.islink(path)
                self._problem(_shown(path), _missing(path, error), error=not dangling)
                continue
            if self._passes_over(os.path.basename(path)):
                self._problem(_shown(path), PASSED_OVER, error=False)
            elif stat.S_ISREG(status.st_mode):
                yield self._file(path, status, explicit=False)
            else:
                self._problem(_shown(path), "is a device, pipe or socket, not a file", error=False)

    def _children(self, path: str, status: os.stat_result) -> tuple[list[str], list[str]]:
        """The children of a folder that was not visited yet: those that are no links, and links."""
        identity = (status.st_dev, status.st_ino)
        if identity in self._visited:
            return [], []
        self._visited.add(identity)
        with os.scandir(path) as scanned:
            children = sorted(scanned, key=lambda child: natural_key(child.name))
        linked = [os.path.join(path, child.name) for child in children if child.is_symlink()]
        return [os.path.join(path, child.name) for child in children if not child.is_symlink()], linked

    def _file(self, path: str, status: os.stat_result, explicit: bool) -> str:
        """Lists the file unless it is listed already; returns the name under which it is."""
        identity = (status.st_dev, status.st_ino)
        key = identity if status.st_nlink == 1 else os.path.realpath(path)
        if key in self._known:
            return self._known[key]
        shown = self._known[key] = _shown(path)
        stream = stat.S_ISFIFO(status.st_mode)
        self.listing.files.append(Listed(Path(path), shown, explicit, status.st_size, stream, identity))
        return shown

    def _problem(self, shown: str, reason: str, error: bool = True) -> None:
        problem = Problem(shown, reason, error=error)
        if (shown, reason) not in self._reported:
            self._reported.add((shown, reason))
            self.listing.problems.append(problem)


def _shown(path: str) -> str:
    return shown_name(PurePath(path).as_posix()) if path else "(empty path)"


def _missing(path: str, error: Exception) -> str:
    if not path or (isinstance(error, FileNotFoundError) and not os.path.islink(path)):
        return "does not exist"
    if isinstance(error, FileNotFoundError):
        return "is a link to nothing"
    return f"cannot be read: {reason_of(error)}"


def _matches(pattern: str) -> list[str]:
    """The paths that a shell would make of the pattern, in natural order: files of a folder before those of its folders.

    As in bash, `**` matches any number of folders and follows no links, and only a dot matches the dot of a hidden name. A
    folder that cannot be listed matches nothing. A backslash is a character like any other.
    """
    parts = PurePath(pattern).parts
    while parts[-1:] == ("**",):  # everything below a folder; the caller walks the folder as a whole
        parts = parts[:-1]
    fixed = next((index for index, part in enumerate(parts) if _MAGIC.intersection(part)), len(parts))
    folder = os.path.join(*parts[:fixed]) if fixed else "."
    if fixed == len(parts):
        return [folder] if os.path.lexists(folder) else []
    rest = "/".join(parts[fixed:]).replace("\\", r"\\")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + _PATH_LEVELS)  # wcmatch calls itself for each level of folders
    try:
        paths = list(glob.iglob(rest, flags=glob.GLOBSTAR, root_dir=folder))
    finally:
        sys.setrecursionlimit(limit)
    paths.sort(key=lambda path: tuple(map(natural_key, os.path.split(path))))
    return [os.path.join(folder, path) for path in paths]
