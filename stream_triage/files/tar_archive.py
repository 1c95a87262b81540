"""A tar archive in; its members out, also those that are stored as links to other members."""

import os
import posixpath
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import IO, Final

from stream_triage.files.links import Place, Targets, member_path
from stream_triage.files.members import READ_BYTES, Member, MemberNames, MemberProblem, is_hidden, link_problems
from stream_triage.files.tar_headers import Entry, entries
from stream_triage.files.unpack import Count, Damage, Guard, Reader, reason_of, unpacked

__all__ = ["DiskTape", "StreamTape", "TarArchive"]

# Links that wait for the end of the archive, since their target may come later.
_MAX_LINKS: Final = 10_000
_CUT: Final = "the archive ends early: it was cut off"


class StreamTape:
    """An archive that comes from a decompressor and can be read once, in order."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.position = 0

    def read(self, size: int) -> bytes:
        """The next bytes."""
        data = self._reader.read(size)
        self.position += len(data)
        return data

    def seek(self, offset: int) -> None:
        """Reads up to this offset."""
        while self.position < offset:
            if not self.read(min(offset - self.position, READ_BYTES)):
                raise Damage(_CUT)


class DiskTape:
    """An archive in a file that can be read at any position.

    Args:
        file: The file.
        damage: What ended the unpacking, if the file is a copy.
        count: Called with the bytes that were read.
    """

    def __init__(self, file: IO[bytes], damage: Damage | None = None, count: Count = lambda _: None) -> None:
        self.file, self.damage, self.count = file, damage, count
        self._end = file.seek(0, os.SEEK_END)
        self.position = 0

    def read(self, size: int) -> bytes:
        """The next bytes."""
        if self.position > self._end:
            raise self.damage or Damage(_CUT)
        data = self.read_at(self.position, size)
        self.position += len(data)
        if len(data) < size and self.damage:
            raise self.damage
        return data

    def seek(self, offset: int) -> None:
        """Continues at this offset."""
        self.position = offset

    def read_at(self, offset: int, size: int) -> bytes:
        """The bytes at this offset; fewer at the end of the archive."""
        try:
            self.file.seek(min(offset, self._end))
            data = self.file.read(size)
        except OSError as error:
            raise Damage(f"cannot be read further: {reason_of(error)}") from None
        self.count(len(data))
        return data


class TarArchive:
    """The members of a tar archive. Unless it is on disk, each must be read before the next one is asked for.

    A member that is a hard link is read like the member that it links to. Symbolic links come last, and one is read only
    if its target was not read under another name, as with the files of a folder.

    Args:
        tape: The archive, unpacked.
        guard: Watches what is unpacked from members, and what links make of one member.
        copied: Makes a copy that can be read at any position. It is called if `tape` cannot, and there are links.
        files: Closed with the archive.

    Raises:
        Damage: If the first header cannot be read.
    """

    def __init__(
        self, tape: StreamTape | DiskTape, guard: Guard, copied: Callable[[], DiskTape] | None, files: ExitStack
    ) -> None:
        self._tape, self._guard, self._copied, self._files = tape, guard, copied, files
        self._disk = tape if isinstance(tape, DiskTape) else None
        self._names = MemberNames()
        self._targets: Targets[Entry] = Targets()
        self._hard: list[tuple[str, Place[Entry]]] = []
        """Hard links that a stream cannot go back for."""
        self._symbolic: list[tuple[str, str]] = []
        """Shown name and path of links whose target may come later."""
        self._entries = entries(tape)
        self._first = next(self._entries, None)

    def members(self) -> Iterator[Member | MemberProblem]:
        """The members and problems."""
        entry = self._first
        damage: Damage | None = None
        while entry:
            yield from self._of_entry(entry)
            try:
                entry = next(self._entries, None)
            except Damage as error:
                damage, entry = error, None
        yield from self._linked()
        if damage:
            yield MemberProblem("", str(damage))

    def close(self) -> None:
        """Closes the files."""
        self._files.close()

    def _of_entry(self, entry: Entry) -> Iterator[Member | MemberProblem]:
        path = member_path(entry.name)
        if entry.kind == "folder":
            self._targets.add_folder(path)
            return
        name = self._names.unique(entry.name)
        place = Place(entry) if entry.kind == "file" else None
        if entry.kind == "hard link":
            place = self._targets.file(member_path(entry.link))
        if place:
            self._targets.add_file(path, place)
        elif entry.kind != "other":
            self._targets.add_link(path, entry.link if entry.kind == "symbolic link" else posixpath.join("/", entry.link))
        if is_hidden(name):
            yield MemberProblem(name, "is hidden", error=False)
        elif entry.kind == "other":
            yield MemberProblem(name, "is not a file", error=False)
        elif place and (place.content is entry or self._disk):
            yield self._member(name, place)
        elif len(self._hard) + len(self._symbolic) >= _MAX_LINKS:
            yield MemberProblem(name, f"is one of more than {_MAX_LINKS} links in the archive; unpack it and read the files")
        elif place:
            self._hard.append((name, place))
        else:
            self._symbolic.append((name, path))

    def _linked(self) -> Iterator[Member | MemberProblem]:
        """The members behind links."""
        for name, place in self._hard:
            yield from self._linked_member(name, place)
        for name, path in self._symbolic:
            target, found = self._targets.follow(path)
            if found is None:
                yield from link_problems(self._targets, name, target)
            elif not found.is_read:
                yield from self._linked_member(name, found)

    def _linked_member(self, name: str, place: Place[Entry]) -> Iterator[Member | MemberProblem]:
        try:
            if self._disk is None and self._copied:
                self._disk = self._copied()
        except (Damage, OSError) as error:
            yield MemberProblem(name, f"is a link that cannot be read: {reason_of(error)}")
            return
        yield self._member(name, place)

    def _member(self, name: str, place: Place[Entry]) -> Member:
        is_link, place.is_read = place.is_read, True

        def opened() -> Reader:
            content = self._content(place.content)
            # One member with a thousand links is a thousand times its text: that counts as unpacking.
            watched = self._guard.watch(content) if is_link or place.content.parts is not None else content
            return unpacked(Reader(watched), name, self._guard)

        return Member(name, opened)

    def _content(self, entry: Entry) -> Iterator[bytes]:
        if entry.parts is None:
            yield from self._data(entry.offset, entry.size)
            return
        offset = position = 0
        for start, size in (*entry.parts, (entry.full_size, 0)):
            if start < position or offset + size > entry.size:
                raise Damage("is damaged: the map of a sparse file cannot be right")
            yield from _nul(start - position)
            yield from self._data(entry.offset + offset, size)
            offset, position = offset + size, start + size

    def _data(self, offset: int, size: int) -> Iterator[bytes]:
        """Bytes of the archive. From a stream they must be those that come next."""
        end = offset + size
        if self._disk is None:
            self._tape.seek(offset)
        while offset < end:
            wanted = min(end - offset, READ_BYTES)
            data = self._disk.read_at(offset, wanted) if self._disk else self._tape.read(wanted)
            if not data:
                raise (self._disk.damage if self._disk else None) or Damage(_CUT)
            offset += len(data)
            yield data


def _nul(size: int) -> Iterator[bytes]:
    """A hole of a sparse file."""
    while size > 0:
        yield bytes(min(size, READ_BYTES))
        size -= READ_BYTES
