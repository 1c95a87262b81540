"""Sessions of open runs in; the same sessions out, those that got nothing for longest compressed in between.

A run of 225 lines in three sources takes about 210 KB while its stages work on it, and most open runs wait for their next
message or for their end. Beyond `LIVE_BYTES`, the sessions that have waited for longest are packed: their state is pickled
and compressed to an eighth. Text that comes for a packed run is kept beside it, so that it is unpacked for many lines at a
time. A verdict does not depend on how the text was cut, so packing changes none.

Pickles stay in the memory of this process: they contain text that is not redacted yet.
"""

import io
import pickle
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

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
# Level 3 saves 2 % more and takes twice as long.
COMPRESSION_LEVEL: Final = 1


class OpenSessions:
    """The open runs of one intake, by the ids that their events carry. Its length is the number of open runs."""

    def __init__(self, triage: Triage, live_bytes: int = LIVE_BYTES, waiting_bytes: int = WAITING_BYTES) -> None:
        self._live_bytes = live_bytes
        self._crowded_bytes = live_bytes + CROWDED_BYTES - LIVE_BYTES
        self._waiting_limit = waiting_bytes
        self._shared = _shared(triage)
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
        session = packed.session(self._shared)
        self.put(run_id, session)
        for chunk in packed.waiting:
            session.add_headers(chunk.headers)
            session.feed(chunk.data, chunk.source)
        self.put(run_id, session)
        return session

    def pop(self, run_id: str) -> Session | None:
        """Removes a run, and text that waits for it; its session if the run was open."""
        if packed := self._packed.pop(run_id, None):
            self._waiting_size -= self._waiting.pop(run_id, 0)
            return packed.session(self._shared)
        self._unpackable.discard(run_id)
        self._size -= self._sizes.pop(run_id, 0)
        return self._live.pop(run_id, None)

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
                packed = _Packed(session, self._shared)
            except Exception:  # some decoders cannot be pickled; such a session stays as it is
                self._unpackable.add(run_id)
                continue
            self._packed[run_id] = packed
            del self._live[run_id]
            self._size -= self._sizes.pop(run_id)


class _Packed:
    """A session as compressed bytes, and text that has come since."""

    __slots__ = ("_data", "_kept", "waiting")

    def __init__(self, session: Session, shared: "_Shared") -> None:
        """Raises any error where some part of the session cannot be pickled."""
        if isinstance(session.text, SpillSpool):
            session.text.spill_above(PACKED_TEXT_BYTES)
        buffer = io.BytesIO()
        pickler = _Pickler(buffer, shared)
        pickler.dump(session)
        data = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL).compress(buffer.getbuffer())
        # A copy: the compressor shortens a block of the largest possible size in place, and the hole behind it stays unused.
        self._data = bytes(memoryview(data))
        self._kept = tuple(pickler.kept)
        self.waiting: list[Chunk] = []

    def session(self, shared: "_Shared") -> Session:
        data = zstandard.ZstdDecompressor().decompress(self._data)
        session = _Unpickler(io.BytesIO(data), shared, self._kept).load()
        assert isinstance(session, Session)
        return session


class _Shared:
    """Objects that all sessions use and that do not change: models, rules, redaction."""

    def __init__(self, objects: Iterable[object]) -> None:
        self.objects = list(objects)
        self.numbers = {id(one): number for number, one in enumerate(self.objects)}


def _shared(triage: Triage) -> _Shared:
    parts = [part for model in triage.models.values() for part in vars(model).values()]
    plain = (str, int, float, bool, type(None))
    return _Shared([triage, triage.redactor, *triage.models.values(), *(part for part in parts if not isinstance(part, plain))])


class _Pickler(pickle.Pickler):
    """Leaves out shared objects and open files."""

    def __init__(self, buffer: io.BytesIO, shared: _Shared) -> None:
        super().__init__(buffer, protocol=5)
        self._numbers = shared.numbers
        self.kept: list[object] = []

    def persistent_id(self, obj: Any) -> tuple[str, int] | None:
        number = self._numbers.get(id(obj))
        if number is not None:
            return "shared", number
        if isinstance(obj, io.IOBase):  # the temporary file of a long text
            self.kept.append(obj)
            return "kept", len(self.kept) - 1
        return None


class _Unpickler(pickle.Unpickler):
    """Reads only what `_Pickler` wrote in this process."""

    def __init__(self, buffer: io.BytesIO, shared: _Shared, kept: tuple[object, ...]) -> None:
        super().__init__(buffer)
        self._objects = {"shared": shared.objects, "kept": kept}

    def persistent_load(self, pid: tuple[str, int]) -> object:
        kind, number = pid
        return self._objects[kind][number]
