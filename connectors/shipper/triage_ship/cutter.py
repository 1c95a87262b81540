"""Bytes of one source in; chunks of whole lines out, by size and time."""

__all__ = ["Cutter"]


class Cutter:
    """A line longer than `chunk_bytes` is cut there; what follows becomes a line of its own."""

    def __init__(self, chunk_bytes: int) -> None:
        self._chunk_bytes = chunk_bytes
        self._held = b""
        self._since: float | None = None
        """When the oldest whole line that is held came."""

    @property
    def held(self) -> int:
        """Bytes that were read and not cut yet."""
        return len(self._held)

    def add(self, data: bytes, now: float) -> list[bytes]:
        """The chunks that are full now."""
        data = self._held + data if self._held else data
        chunks, start = [], 0
        while len(data) - start >= self._chunk_bytes:
            end = data.rfind(b"\n", start, start + self._chunk_bytes) + 1 or start + self._chunk_bytes
            chunks.append(data[start:end])
            start = end
        self._held = data[start:] if start else data
        if chunks:
            self._since = None
        if self._since is None and b"\n" in self._held:
            self._since = now
        return chunks

    def due(self, now: float, linger_seconds: float) -> bytes:
        """The whole lines, when they have waited long enough; empty otherwise."""
        if self._since is None or now - self._since < linger_seconds:
            return b""
        end = self._held.rfind(b"\n") + 1
        chunk, self._held, self._since = self._held[:end], self._held[end:], None
        return chunk

    def rest(self) -> bytes:
        """All that is held: nothing more will come."""
        chunk, self._held, self._since = self._held, b"", None
        return chunk
