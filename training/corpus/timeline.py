"""Turns the records of one run into the text of its log: sorted, stamped, and with the gaps of a real tester's log."""

import random
from datetime import datetime, timedelta
from math import ceil
from typing import Final, NamedTuple

__all__ = ["Entry", "Timeline", "Written", "cleaned_size"]

# Bytes of a log. Above this the tester drops the oldest records of the traffic; set-up and stop section stay.
SIZE_LIMIT: Final = 290_000
# Share of the lines that are missing in a log: a busy tester drops records.
MISSING_LINES: Final = (0.02, 0.04)
# Share of the logs whose tester buffers its output, and of those with bytes that are not UTF-8.
BUFFERING_SHARE: Final = 0.3
DAMAGED_SHARE: Final = 0.03
# Milliseconds for which a tester buffers.
BUFFERING_MS: Final = (5, 50)
_NO_DIGITS: Final = dict.fromkeys(map(ord, "0123456789."))


class Entry(NamedTuple):
    """One record.

    The first two fields are the sort key: records of one time stay in the order in which they were added.

    Attributes:
        at_ms: Time in milliseconds since the start of the log.
        order: Number of the record in the order of adding.
        lines: Its payload, and the lines that continue it.
        section: Name of the section that begins with it, else empty.
        root: Whether it is a direct record of the root cause.
        symptom: Whether it is a record of the root cause or of a consequence.
        kept: Whether it is never missing in the log.
    """

    at_ms: float
    order: int
    lines: tuple[str, ...]
    section: str = ""
    root: bool = False
    symptom: bool = False
    kept: bool = False


class Written(NamedTuple):
    """The text of a log, the first line of each section, and the lines of the root cause and of the last symptom."""

    text: bytes
    sections: tuple[tuple[str, int], ...]
    root_line: int | None
    last_symptom_line: int | None


class Timeline:
    """Collects the records of a run, in any order."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(
        self,
        at_ms: float,
        *lines: str,
        section: str = "",
        root: bool = False,
        symptom: bool = False,
        kept: bool = False,
    ) -> None:
        """Adds a record; see `Entry` for the arguments."""
        self.entries.append(Entry(at_ms, len(self.entries), lines, section, root, symptom, kept))

    def characters(self) -> int:
        """Characters so far, without numbers and times, as the published pre-processing counts them."""
        return sum(cleaned_size(line) for entry in self.entries for line in entry.lines)

    def write(self, rng: random.Random, start: datetime, indent: str) -> Written:
        """Writes the log with CRLF line ends.

        The first record of a root cause is never missing: a run must show what it is labelled for.

        Args:
            rng: Draws which lines are missing, how the tester buffers, and which bytes are damaged.
            start: Time of the first record.
            indent: What continuation lines begin with.
        """
        entries = self._limited(sorted(self.entries))
        stamps = self._stamps(rng, [entry.at_ms for entry in entries])
        # Each log has a share of missing lines of its own.
        loss = rng.uniform(*MISSING_LINES)
        first_root = next((entry for entry in entries if entry.root), None)
        out: list[str] = []
        sections: list[tuple[str, int]] = []
        root = symptom = None
        for entry, at in zip(entries, stamps, strict=True):
            if entry.section:
                sections.append((entry.section, len(out) + 1))
            # The first record of a section is kept, too: the audit finds sections by it.
            safe = entry.kept or entry.section or entry is first_root
            stamp = _stamp(start + timedelta(milliseconds=at))
            for i, line in enumerate(entry.lines):
                if not safe and rng.random() < loss:
                    if i == 0:
                        break  # without its first line, the others would continue the record before
                    continue
                text = f"{stamp}\t{line}" if i == 0 else indent + line
                if i == 0 and entry.root and root is None:
                    root = len(out) + 1
                if i == 0 and entry.symptom:
                    symptom = len(out) + 1
                out.append(text)
        return Written(_encoded(out, rng), tuple(sections), root, symptom)

    def _limited(self, entries: list[Entry]) -> list[Entry]:
        """Drops the oldest records of the traffic until the log fits the limit; records of the root cause stay."""
        excess = sum(map(_size, entries)) - SIZE_LIMIT
        if excess <= 0:
            return entries
        first = next(i for i, entry in enumerate(entries) if entry.section == "traffic")
        end = first + 1
        while excess > 0 and end < len(entries) and not entries[end].section:
            if not entries[end].root:
                excess -= _size(entries[end])
            end += 1
        # The tester says so itself when it drops records.
        note = Entry(
            entries[end - 1].at_ms, -1, ("I: TMAE 0x0 Information - Log size limit reached, oldest records discarded.",)
        )
        return [*entries[: first + 1], *(e for e in entries[first + 1 : end] if e.root), note, *entries[end:]]

    @staticmethod
    def _stamps(rng: random.Random, times: list[float]) -> list[float]:
        """Times as they are stamped. A tester that buffers gives all records of one flush the time of the flush."""
        if rng.random() >= BUFFERING_SHARE or not times:
            return times
        window = rng.uniform(*BUFFERING_MS)
        # The time of the flush is the end of the window, so no record is stamped before it happened.
        return [times[0] + ceil((at - times[0]) / window) * window for at in times]


def cleaned_size(line: str) -> int:
    """About how many characters of a line are left when its numbers are removed."""
    return len(line.translate(_NO_DIGITS)) + 1


def _size(entry: Entry) -> int:
    """About how many bytes a record takes, with its stamp, indents and line ends."""
    return sum(map(len, entry.lines)) + 18 + 6 * len(entry.lines)


def _stamp(at: datetime) -> str:
    return f"{at:%d/%m/%y %H:%M:%S}:{at.microsecond // 1000:03d}"


def _encoded(lines: list[str], rng: random.Random) -> bytes:
    """Bytes of the log; a few logs contain bytes that are not UTF-8, such as a degree sign in Latin-1."""
    data = [line.encode() for line in lines]
    if rng.random() < DAMAGED_SHARE:
        for _ in range(rng.randint(1, 3)):
            line = rng.randrange(len(data))
            data[line] += b" " + bytes([rng.randrange(0x80, 0x100)])
    return b"\r\n".join(data) + b"\r\n"
