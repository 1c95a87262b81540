"""Paths, folders and patterns from the command line in; the files to read, each with its path before rotation, out."""

import contextlib
import fnmatch
import glob
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from triage_ship.copies import is_packed

__all__ = ["LogPaths"]

# What logrotate and its like append to a name: a number or a date. A date may also be before the extension.
_DATE = r"(?:(?:19|20)\d{6}|(?:19|20)\d{2}-\d{2}-\d{2})(?:[-_T]?\d{2,10})?"
_ROTATED = re.compile(rf"[.-](?:\d{{1,3}}|{_DATE})(?:-\d+)?$|[.-]{_DATE}(?=\.(?:log|txt)$)")


class LogPaths:
    """The files to read.

    Args:
        names: Files, folders and patterns. They need not exist yet.
        positions: The remembered positions, by device and inode. New ones are seen, too.
    """

    def __init__(self, names: tuple[str, ...], positions: Mapping[str, dict[str, Any]]) -> None:
        self._names, self._positions = names, positions
        self.bases = {position["base"] for position in positions.values()}
        """Paths under which something was read. The caller adds new ones."""

    def list(self) -> Iterator[tuple[Path, Path]]:
        """Yields each file that exists, and its path before rotation; oldest generations first."""
        groups: dict[Path, list[tuple[float, Path]]] = {}
        for path, base in self._find():
            with contextlib.suppress(OSError):
                groups.setdefault(base, []).append((path.stat().st_mtime, path))
        for base, group in groups.items():
            # The path itself comes last even if a clock was set back: it is the only one still written.
            for _, path in sorted(group, key=lambda one: (one[1] == base, one[0], one[1].name)):
                yield path, base

    def includes(self, path: Path) -> bool:
        """Whether a path is one of the names, or below one of them, whether it exists or not."""
        names = map(Path, self._names)
        return any(path == name or name in path.parents or fnmatch.fnmatch(str(path), str(name)) for name in names)

    def _find(self) -> Iterator[tuple[Path, Path]]:
        for name in self._names:
            path = Path(name)
            if path.is_dir() or glob.has_magic(name):
                matches = path.rglob("*") if path.is_dir() else map(Path, glob.iglob(name, recursive=True))
                for match in sorted(matches):
                    base = _without_rotation_suffix(match)
                    # Without a file `run` beside it, `run.17` is not a rotated file but a name like any other.
                    yield match, base if str(base) in self.bases or base.exists() else match
            else:
                yield from ((generation, path) for generation in self._generations(path))
                yield path, path

    def _generations(self, path: Path) -> Iterator[Path]:
        """Yields rotated files of a path that was read before.

        These are the files that were read under that path, and newer ones: they were created and renamed while no
        shipper was running, and would be lost otherwise. Older ones are from before the first start.
        """
        times = [position["mtime"] for position in self._positions.values() if position["base"] == str(path)]
        for other in sorted(path.parent.glob(f"{glob.escape(path.stem)}?*")) if times else ():
            with contextlib.suppress(OSError):
                status = other.stat()
                known = f"{status.st_dev}:{status.st_ino}" in self._positions
                if (known or status.st_mtime >= max(times)) and other != path and _without_rotation_suffix(other) == path:
                    yield other


def _without_rotation_suffix(path: Path) -> Path:
    """The path that a rotated or compressed file had before.

    >>> names = "/logs/tm500.log.12", "du.log-20261125", "du-20261125.log.gz", "a.log", "ue.7.log"
    >>> [_without_rotation_suffix(Path(name)).name for name in names]
    ['tm500.log', 'du.log', 'du.log', 'a.log', 'ue.7.log']
    """
    name = path.with_suffix("").name if is_packed(path) else path.name
    return path.with_name(_ROTATED.sub("", name) or name)
