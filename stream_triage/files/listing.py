"""Paths as people give them in; the files to read out, in order, each once, and what was passed over."""

import errno
import fnmatch
import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from stream_triage.files.naming import natural_key, shown_name
from stream_triage.files.unpack import reason_of
from stream_triage.records import Problem

__all__ = ["Listed", "Listing", "is_gone", "list_files"]

_MAGIC = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Listed:
    """One file to read. `shown` is its path as given, printable; `explicit` when named itself, not found."""

    path: Path
    shown: str
    explicit: bool
    size: int
    stream: bool
    identity: tuple[int, int]


@dataclass(slots=True)
class Listing:
    """`under` says for every folder and pattern given, and read without error, to which files (by `shown`) it led."""

    files: list[Listed] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    under: dict[str, set[str]] = field(default_factory=dict)


def list_files(paths: Sequence[str | Path]) -> Listing:
    """Lists files, folders (recursively) and patterns, in the order given, within each in natural order.

    A file reached twice, also by symbolic link, is listed once; hard links are files of their own.
    """
    lister = _Lister()
    for path in paths:
        lister.add(os.fspath(path))
    return lister.listing


def is_gone(path: Path, identity: tuple[int, int]) -> bool:
    """Whether a file that was listed is surely no longer there; one that cannot be looked at is not."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return (status.st_dev, status.st_ino) != identity


class _Lister:
    def __init__(self) -> None:
        self.listing = Listing()
        self._known: dict[tuple[int, int] | str, str] = {}
        self._visited: set[tuple[int, int]] = set()
        self._told: set[tuple[str, str]] = set()

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
            self._add_all(shown, iter([given]))
        elif stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode):
            self._file(given, status, explicit=True)
        else:
            self._problem(shown, "is a device or socket, not a file")

    def _add_all(self, shown: str, found: Iterator[str]) -> None:
        errors = sum(problem.error for problem in self.listing.problems)
        files = {file for path in found for file in self._walk(path)}
        if errors == sum(problem.error for problem in self.listing.problems):
            self.listing.under.setdefault(shown, set()).update(files)

    def _walk(self, top: str) -> Iterator[str]:
        """Gives every file at or below `top` as shown; a stack, since folders may nest deeper than Python's calls.

        Links come last, so that a file goes by its own name and not by that of a link `latest`.
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
            if stat.S_ISREG(status.st_mode):
                yield self._file(path, status, explicit=False)
            else:
                self._problem(_shown(path), "is a device, pipe or socket, not a file", error=False)

    def _children(self, path: str, status: os.stat_result) -> tuple[list[str], list[str]]:
        """What lies in a folder that was not visited yet: its own, and links."""
        identity = (status.st_dev, status.st_ino)
        if identity in self._visited:
            return [], []
        self._visited.add(identity)
        with os.scandir(path) as found:
            children = sorted(found, key=lambda child: natural_key(child.name))
        linked = [os.path.join(path, child.name) for child in children if child.is_symlink()]
        return [os.path.join(path, child.name) for child in children if not child.is_symlink()], linked

    def _file(self, path: str, status: os.stat_result, explicit: bool) -> str:
        """Lists the file unless it is known; gives the name under which it is."""
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
        if (shown, reason) not in self._told:
            self._told.add((shown, reason))
            self.listing.problems.append(problem)


def _shown(path: str) -> str:
    return shown_name(PurePath(path).as_posix()) if path else "(empty path)"


def _missing(path: str, error: Exception) -> str:
    if not path or (isinstance(error, FileNotFoundError) and not os.path.islink(path)):
        return "does not exist"
    if isinstance(error, FileNotFoundError):
        return "is a link to nothing"
    return f"cannot be read: {reason_of(error)}"


def _matches(pattern: str) -> Iterator[str]:
    """What a shell would make of the pattern; like there, `**` follows no links. The standard library's would."""
    parts = PurePath(pattern).parts
    fixed = next(place for place, part in enumerate(parts) if _MAGIC.intersection(part))
    yield from _match(os.path.join(*parts[:fixed]) if fixed else "", parts[fixed:])


def _match(folder: str, parts: tuple[str, ...]) -> Iterator[str]:
    if not parts:
        if os.path.lexists(folder or "."):
            yield folder or "."
        return
    head, rest = parts[0], parts[1:]
    if head == "**":
        for below in _folders(folder) if rest else (folder,):  # at the end of a pattern, the folder is walked as a whole
            yield from _match(below, rest)
    elif not _MAGIC.intersection(head):
        yield from _match(os.path.join(folder, head), rest)
    else:
        for child in _names(folder):
            if fnmatch.fnmatchcase(child, head) and (head.startswith(".") or not child.startswith(".")):
                yield from _match(os.path.join(folder, child), rest)


def _folders(top: str) -> Iterator[str]:
    """`top` and all folders below it, without links and hidden ones."""
    stack = [top]
    while stack:
        folder = stack.pop()
        yield folder
        paths = [os.path.join(folder, name) for name in _names(folder) if not name.startswith(".")]
        stack.extend(path for path in reversed(paths) if os.path.isdir(path) and not os.path.islink(path))


def _names(folder: str) -> list[str]:
    """A folder that cannot be listed matches nothing, as in a shell."""
    try:
        return sorted(os.listdir(folder or "."), key=natural_key)
    except OSError:
        return []
