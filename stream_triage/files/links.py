"""Names of the members of an archive in; what its links point to out.

Nothing is looked up outside of the archive, and nothing is followed for ever: links may point to each other in circles.
"""

import posixpath
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

__all__ = ["MAX_NAMES", "Place", "Targets", "member_path"]

MAX_NAMES: Final = 100_000
"""Members that are remembered; links to later ones cannot be resolved."""
_MAX_PATH: Final = 4096  # as in Linux; longer names are not remembered
_MAX_HOPS: Final = 40  # as in Linux

T = TypeVar("T")


def member_path(name: str) -> str:
    """The name of a member as a path from the root of the archive.

    >>> [member_path(name) for name in ("./a//b", "/abs", "a/../b", "../out")]
    ['a/b', 'abs', 'b', '../out']
    """
    return posixpath.normpath(name).lstrip("/")


@dataclass(slots=True)
class Place(Generic[T]):
    """Where the content of a file is, and whether it was read already, under whatever name."""

    content: T
    is_read: bool = False


class Targets(Generic[T]):
    """The files, folders and links of an archive, by path."""

    def __init__(self) -> None:
        self._files: dict[str, Place[T]] = {}
        self._folders: set[str] = set()
        self._links: dict[str, str] = {}

    def add_file(self, path: str, place: Place[T]) -> None:
        """Remembers a file. A later one of the same path replaces it, as it would when the archive is unpacked."""
        if self._has_room(path):
            self._files[path] = place
            self.add_folder(posixpath.dirname(path))

    def add_folder(self, path: str) -> None:
        """Remembers a folder and those around it."""
        while path and path not in self._folders and self._has_room(path):
            self._folders.add(path)
            path = posixpath.dirname(path)

    def add_link(self, path: str, target: str) -> None:
        """Remembers a symbolic link. The target is relative to its folder, or to the root of the archive."""
        if self._has_room(path):
            self._links[path] = member_path(posixpath.join(posixpath.dirname(path), target))

    def file(self, path: str) -> Place[T] | None:
        """The file at this very path, so far."""
        return self._files.get(path)

    def follow(self, path: str) -> tuple[str, Place[T] | None]:
        """The path behind all links, and the file there, if there is one."""
        for _ in range(_MAX_HOPS):
            if path in self._files:
                return path, self._files[path]
            shorter = self._without_link(path)
            if shorter is None:
                break
            path = shorter
        return path, None

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder at this path. The root is one."""
        return path in (".", "") or path in self._folders

    def _without_link(self, path: str) -> str | None:
        """The path with its first link replaced by the link's target; None if no part of it is a link."""
        if len(path) > _MAX_PATH:
            return None
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            target = self._links.get("/".join(parts[:count]))
            if target is not None:
                return member_path(posixpath.join(target, *parts[count:]))
        return None

    def _has_room(self, path: str) -> bool:
        return len(path) <= _MAX_PATH and len(self._files) + len(self._folders) + len(self._links) < MAX_NAMES
