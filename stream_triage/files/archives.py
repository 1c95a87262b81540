"""A .zip or .tar.* file in; its members, each to be read like a file, and problems out.

Nothing is written to disk under the name of a member. Members that are compressed themselves are unpacked one level.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from stream_triage.files.members import Member, MemberProblem
from stream_triage.files.naming import kind_of
from stream_triage.files.tar_archive import TarArchive
from stream_triage.files.unpack import Count
from stream_triage.files.zip_archive import ZipArchive
from stream_triage.settings import InputSettings

__all__ = ["Archive", "open_archive"]


class Archive(Protocol):
    """An open archive."""

    def members(self) -> Iterator[Member | MemberProblem]:
        """The members and problems. Never raises.

        Unless the archive was opened with `any_order`, each member must be read before the next one is asked for.
        """

    def close(self) -> None:
        """Closes the file."""


def open_archive(path: Path, size: int, settings: InputSettings, count: Count, any_order: bool) -> Archive:
    """Opens an archive, whose kind is known by its name.

    Args:
        path: The file.
        size: Its size in bytes, which bounds what may be unpacked from it.
        settings: The limits.
        count: Called with the bytes that were read.
        any_order: Whether members are read in another order than they come. A compressed tar archive is then unpacked
            into a temporary file without a name first.

    Raises:
        Damage: If the file is not such an archive.
        OSError: If it cannot be opened.
    """
    if kind_of(path.name) == "zip":
        return ZipArchive(path, size, settings, count)
    return TarArchive(path, size, settings, count, any_order)
