"""Sessions of open runs in; the same sessions out, those that got nothing for longest compressed in between.

A run of 225 lines in three sources takes about 210 KB while its stages work on it, and most open runs wait for their next
message or for their end. Beyond `LIVE_BYTES`, the sessions that have waited for longest are packed: their state is pickled
and compressed, to a sixth or much less. Text that comes for a packed run is kept beside it, so that it is unpacked for many
lines at a time. A verdict does not depend on how the text was cut, so packing changes none.

Pickles stay in the memory of this process: they contain text that is not redacted yet.
"""

import io
import pickle
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

import zstandard

from stream_triage.pipeline import Session, Triage
from stream_triage.records import Chunk
from stream_triage.spool import SpillSpool

__all__ = ["OpenSessions"]

# Estimated size of the sessions that are not packed.
LIVE_BYTES: Final = 128 << 20
# So far the estimate may grow before sessions are packed: packing follows the models, which are faster on large batches.
CROWDED_BYTES: Final = LIVE_BYTES + (64 << 20)
# Estimates, measured with the bundles of this package: a session, each of its sources, and of the text of a source at most
# so much, since blocks of 1,000 lines go to the spool.
SESSION_BYTES: Final = 16 << 10
SOURCE_BYTES: Final = 64 << 10
MAX_TEXT_BYTES: Final = 512 << 10
# Text that waits for packed runs: for one run, and for all of them. Each piece counts a little more than its text.
RUN_WAITING_BYTES: Final = 16 << 10
WAITING_BYTES: Final = 64 << 20
PIECE_BYTES: Final = 256
# Compressed text of a packed run that stays in memory, about 1,500 lines. More of it goes to the temporary file of the run.
PACKED_TEXT_BYTES: Final = 16 << 10
COMPRESSION_LEVEL: Final = 3
# Packed sessions are compressed with the first few of each thousand as a dictionary, which saves most of what is
# the same in all runs of a farm.
DICTIONARY_SESSIONS: Final = 4
DICTIONARY_PERIOD: Final = 1000
DICTIONARY_BYTES: Final = 1 << 20


class OpenSessions:
    """The open runs of one intake, by the ids that their events carry. Its length is the number of open runs."""

    def __init__(self, triage: Triage, live_bytes: int = LIVE_BYTES, waiting_bytes: int = WAITING_BYTES) -> None:
        self._live_bytes = live_bytes
        self._crowded_bytes = live_bytes + CROWDED_BYTES - LIVE_BYTES
        self._waiting_limit = waiting_bytes
        self._packing = _Packing(triage)
        self._live: dict[str, Session] = {}
        """Sessions that are not packed; the one used last is the last one."""
        self._sizes: dict[str, int] = {}
        """Estimated size of each of them."""
        self._packed: dict[str, _Packed] = {}
        self._waiting: dict[str, int] = {}
        """By packed run, the size of the text that waits for it; the run that has waited for longest comes first."""
        self._unpackable: set[str] = set()
        self._size = self._waiting_size = 0

    def __len__(self) -> int:
        return len(self._live) + len(self._packed)

    def __iter__(self) -> Iterator[str]:
        yield from [*self._live, *self._packed]

    @property
    def live(self) -> Mapping[str, Session]:
        """The sessions that are not packed."""
        return MappingProxyType(self._live)

    @property
    def crowded(self) -> bool:
        """Whether `pack_surplus` is due."""
        return self._size > self._crowded_bytes

    def is_packed(self, run_id: str) -> bool:
        """Whether the run is open and packed."""
        return run_id in self._packed

    def put(self, run_id: str, session: Session) -> None:
        """Takes a new session, or one that has got text."""
        size = SESSION_BYTES + sum(SOURCE_BYTES + min(each.bytes, MAX_TEXT_BYTES) for each in session.sources.values())
        self._size += size - self._sizes.pop(run_id, 0)
        self._live.pop(run_id, None)
        self._live[run_id], self._sizes[run_id] = session, size

    def keep(self, chunk: Chunk) -> list[str]:
        """Keeps text of a packed run; returns the runs to unpack because much waits for them."""
        size = len(chunk.data) + PIECE_BYTES
        self._packed[chunk.run_id].waiting.append(chunk)
        self._waiting[chunk.run_id] = self._waiting.get(chunk.run_id, 0) + size
        self._waiting_size += size
        due, left = [], self._waiting_size
        if self._waiting[chunk.run_id] >= RUN_WAITING_BYTES:
            due.append(chunk.run_id)
            left -= self._waiting[chunk.run_id]
        for run_id, waiting in self._waiting.items():
            if left <= self._waiting_limit:
                break
            if run_id not in due:
                due.append(run_id)
                left -= waiting
        return due

    def unpack(self, run_id: str) -> Session:
        """The session of a packed run, with the text that waited for it. Raises what `Session.feed` raises."""
        packed = self._packed.pop(run_id)
        self._waiting_size -= self._waiting.pop(run_id, 0)
        session = packed.session(self._packing)
        self.put(run_id, session)
        for chunk in packed.waiting:
            session.add_headers(chunk.headers)
            session.feed(chunk.data, chunk.source)
        self.put(run_id, session)
        return session

    def remove(self, run_id: str) -> None:
        """Removes a run that is not packed. Its text stays open for those that write it."""
        self._unpackable.discard(run_id)
        self._size -= self._sizes.pop(run_id, 0)
        self._live.pop(run_id, None)

    def discard(self, run_id: str) -> str | None:
        """Removes a run, closes its text, and drops what waits for it; its shown id, or None if it was not open.

        Packed runs are not unpacked for it: a worker that stops has thousands of them.
        """
        if packed := self._packed.pop(run_id, None):
            self._waiting_size -= self._waiting.pop(run_id, 0)
            packed.close()
            return packed.run_id
        session = self._live.get(run_id)
        if session is None:
            return None
        self.remove(run_id)
        session.text.close()
        return session.run_id

    def pack_surplus(self) -> None:
        """Packs the sessions that were used longest ago. No session may have text that the stages have not had."""
        if self._size <= self._live_bytes:
            return
        for run_id, session in list(self._live.items()):
            if self._size <= self._live_bytes:
                return
            if run_id in self._unpackable:
                continue
            try:
                packed = _Packed(session, self._packing)
            except Exception:  # some decoders cannot be pickled; such a session stays as it is
                self._unpackable.add(run_id)
                continue
            self._packed[run_id] = packed
            del self._live[run_id]
            self._size -= self._sizes.pop(run_id)


class _Packed:
    """A session as compressed bytes, and text that has come since."""

    __slots__ = ("_compression", "_data", "_kept", "run_id", "waiting")

    def __init__(self, session: Session, packing: "_Packing") -> None:
        """Raises any error where some part of the session cannot be pickled."""
        if isinstance(session.text, SpillSpool):
            session.text.spill_above(PACKED_TEXT_BYTES)
        buffer = io.BytesIO()
        pickler = _Pickler(buffer, packing.numbers)
        pickler.dump(session)
        self._compression = packing.compression
        self._data = packing.compress(buffer.getvalue())
        self._kept = tuple(pickler.kept)
        self.run_id = session.run_id
        self.waiting: list[Chunk] = []

    @property
    def size(self) -> int:
        """Bytes of the compressed session."""
        return len(self._data)

    def session(self, packing: "_Packing") -> Session:
        data = self._compression.decompressor.decompress(self._data)
        session = _Unpickler(io.BytesIO(data), packing.shared, self._kept).load()
        assert isinstance(session, Session)
        return session

    def close(self) -> None:
        for file in self._kept:
            file.close()


class _Compression(NamedTuple):
    """How sessions are compressed: with some of the sessions before them as a dictionary, since runs are alike."""

    compressor: zstandard.ZstdCompressor
    decompressor: zstandard.ZstdDecompressor

    @classmethod
    def after(cls, sessions: Sequence[bytes]) -> Self:
        if not sessions:
            return cls(zstandard.ZstdCompressor(level=COMPRESSION_LEVEL), zstandard.ZstdDecompressor())
        content = b"".join(sessions)[-DICTIONARY_BYTES:]
        dictionary = zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        dictionary.precompute_compress(level=COMPRESSION_LEVEL)
        compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL, dict_data=dictionary)
        return cls(compressor, zstandard.ZstdDecompressor(dict_data=dictionary))


class _Packing:
    """What all packed sessions of an intake have in common."""

    def __init__(self, triage: Triage) -> None:
        self._triage = triage
        self.shared: list[object] = [triage, triage.redactor]
        """Objects that all sessions use and that do not change: models, rules, redaction."""
        self._models = 0
        self._numbers = {id(one): number for number, one in enumerate(self.shared)}
        self.compression = _Compression.after([])
        self._recent: deque[bytes] = deque(maxlen=DICTIONARY_SESSIONS)
        self._count = 0

    @property
    def numbers(self) -> Mapping[int, int]:
        """Places of the shared objects by their ids. Models are opened when a run needs them, and then come behind."""
        opened = list(self._triage.models.opened.values())
        plain = (str, int, float, bool, type(None))
        for model in opened[self._models :]:
            for one in (model, *(part for part in vars(model).values() if not isinstance(part, plain))):
                self._numbers.setdefault(id(one), len(self.shared))
                self.shared.append(one)
        self._models = len(opened)
        return self._numbers

    def compress(self, session: bytes) -> bytes:
        """Compresses with `compression`, which changes for later sessions after the first ones, and now and then."""
        data = self.compression.compressor.compress(session)
        self._count += 1
        if (place := self._count % DICTIONARY_PERIOD) <= DICTIONARY_SESSIONS:
            self._recent.append(session)
            if place == DICTIONARY_SESSIONS:
                self.compression = _Compression.after(self._recent)
                self._recent.clear()
        # A copy: the compressor shortens a block of the largest possible size in place, and the hole behind it stays unused.
        return bytes(memoryview(data))


class _Pickler(pickle.Pickler):
    """Leaves out shared objects and open files."""

    def __init__(self, buffer: io.BytesIO, numbers: Mapping[int, int]) -> None:
        super().__init__(buffer, protocol=5)
        self._numbers = numbers
        self.kept: list[io.FileIO] = []

    def reducer_override(self, obj: Any) -> Any:
        number = self._numbers.get(id(obj))
        if number is not None:
            return _shared, (number,)
        if type(obj) is io.FileIO:  # the temporary file of a long text
            self.kept.append(obj)
            return _kept, (len(self.kept) - 1,)
        return NotImplemented


def _shared(number: int) -> object:
    """Stands in a pickle for a shared object."""
    raise NotImplementedError


def _kept(number: int) -> object:
    """Stands in a pickle for an open file."""
    raise NotImplementedError


class _Unpickler(pickle.Unpickler):
    """Reads only what `_Pickler` wrote in this process."""

    def __init__(self, buffer: io.BytesIO, shared: Sequence[object], kept: Sequence[object]) -> None:
        super().__init__(buffer)
        self._objects = {"_shared": shared.__getitem__, "_kept": kept.__getitem__}

    def find_class(self, module: str, name: str) -> Any:
        return self._objects[name] if module == __name__ and name in self._objects else super().find_class(module, name)
