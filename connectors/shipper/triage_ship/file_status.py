"""A path or an open file in; what identifies the file, and what shows that it has changed, out."""

import ctypes
import os
import stat
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["Identity", "Status", "birth_time", "status_of"]


class Identity(NamedTuple):
    """What does not change while a file grows and is renamed. `birth` is in nanoseconds, 0 if it is not known."""

    device: int
    inode: int
    birth: int


class Status(NamedTuple):
    """What a poll looks at. `modified` is in nanoseconds since 1970."""

    device: int
    inode: int
    size: int
    modified: int
    regular: bool


def status_of(file: Path | int) -> Status:
    """The status of a path or an open descriptor."""
    status = os.stat(file)
    regular = stat.S_ISREG(status.st_mode)
    return Status(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, regular)


def birth_time(file: Path | int) -> int:
    """When a file was created, in nanoseconds since 1970; 0 if the system or the file system does not say it.

    `os.stat` has it on macOS only. Linux has the system call statx, whose result holds the time at byte 80.

    Raises:
        OSError: The file does not exist, or may not be looked at.
    """
    if _statx is None:
        return int(getattr(os.stat(file), "st_birthtime", 0) * 1e9)
    empty_path, current_folder, wanted = 0x1000, -100, 0x800  # AT_EMPTY_PATH, AT_FDCWD, STATX_BTIME
    result = ctypes.create_string_buffer(256)
    if isinstance(file, Path):
        failed = _statx(current_folder, os.fsencode(file), 0, wanted, result)
    else:
        failed = _statx(file, b"", empty_path, wanted, result)
    if failed:
        os.stat(file)  # raises if the reason is the file, and not an old system
        return 0
    if not int.from_bytes(result.raw[:4], sys.byteorder) & wanted:
        return 0
    seconds = int.from_bytes(result.raw[80:88], sys.byteorder, signed=True)
    return seconds * 10**9 + int.from_bytes(result.raw[88:92], sys.byteorder)


_statx = getattr(ctypes.CDLL(None), "statx", None) if sys.platform.startswith("linux") else None
