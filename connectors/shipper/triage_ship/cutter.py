"""Bytes of one source go in, in any portions; chunks of whole lines come out, by size and by time."""

__all__ = ["Cutter"]


class Cutter:
    """Cuts at line ends. A line longer than `chunk_bytes` is cut there, and the worker sees two lines."""

    def __init__(self, chunk_bytes: int) -> None:
        self._chunk_bytes = chunk_bytes
        self._held = b""
        # Arrival of the oldest whole line in `_held`; None if there is no whole line.
        self._since: float | None = None

    @property
    def held(self) -> int:
        """How many bytes were added and are in no chunk yet."""
        return len(self._held)

    def add(self, data: bytes, now: float) -> list[bytes]:
        """Adds bytes that arrived at `now` (seconds, any clock); returns the chunks that are full, often none."""
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
        """The whole lines if the oldest arrived `linger_seconds` ago or earlier, otherwise an empty chunk.

        An unfinished line is never due, however long it waits: its end may still arrive.
        """
        if self._since is None or now - self._since < linger_seconds:
            return b""
        end = self._held.rfind(b"\n") + 1
        chunk, self._held, self._since = self._held[:end], self._held[end:], None
        return chunk

    def rest(self) -> bytes:
        """Everything that is held, an unfinished line included. To be called when no more bytes will arrive."""
        chunk, self._held, self._since = self._held, b"", None
        return chunk
