"""One index in memory: versions of documents in, what reads by id and what searches see out."""

import zlib
from dataclasses import dataclass, field
from typing import Any, Final

from stream_triage.clients.memory.mapping import FieldMappings, RequestError
from stream_triage.clock import Clock

__all__ = ["MemoryIndex", "StoredDocument"]

# For so long the version of a deleted document is remembered, and a lower one rejected (`index.gc_deletes`).
DELETED_SECONDS: Final = 60.0


@dataclass(frozen=True, eq=False)
class StoredDocument:
    """A document as an index has it. Each write makes a new one."""

    index: str
    id: str
    version: int
    source: dict[str, Any]
    fields: dict[str, list[Any]]
    """What searches compare, by full name of a field."""
    shard: int
    seq_no: int
    """Counts the changes of its shard."""


@dataclass
class MemoryIndex:
    """Documents of one index. A search sees them as they were at the last refresh, a read by id as they are."""

    name: str
    fields: FieldMappings
    shards: int
    clock: Clock
    latest: dict[str, StoredDocument] = field(default_factory=dict)
    visible: dict[str, StoredDocument] = field(default_factory=dict)
    _deleted: dict[str, tuple[int, float]] = field(default_factory=dict)
    _changes: dict[int, int] = field(default_factory=dict)

    def write(self, name: str, version: int, source: dict[str, Any]) -> bool:
        """Stores a document; returns whether it is a new one.

        Raises:
            RequestError: The version is not above the known one (status 409), or a field does not fit (400).
        """
        known = self._known_version(name)
        if known is not None and version <= known:
            reason = (
                f"[{name}]: version conflict, current version [{known}] is higher or equal to the one provided [{version}]"
            )
            raise RequestError(409, "version_conflict_engine_exception", reason)
        values = self.fields.values(source, name)
        shard = zlib.crc32(name.encode(errors="replace")) % self.shards
        self._deleted.pop(name, None)
        replaced = self.latest.pop(name, None)
        self.latest[name] = StoredDocument(self.name, name, version, source, values, shard, self._next_seq_no(shard))
        return replaced is None

    def delete(self, seen: StoredDocument) -> bool:
        """Removes a document that a search has seen; returns False if it was changed since."""
        if self.latest.get(seen.id) is not seen:
            return False
        del self.latest[seen.id]
        self._next_seq_no(seen.shard)
        self._deleted[seen.id] = (seen.version + 1, self.clock.monotonic())
        return True

    def refresh(self) -> None:
        """Lets searches see what was written and deleted."""
        self.visible = dict(self.latest)

    def _known_version(self, name: str) -> int | None:
        if name in self.latest:
            return self.latest[name].version
        if name in self._deleted:
            version, when = self._deleted[name]
            return version if self.clock.monotonic() - when < DELETED_SECONDS else None
        return None

    def _next_seq_no(self, shard: int) -> int:
        number = self._changes.get(shard, 0)
        self._changes[shard] = number + 1
        return number
