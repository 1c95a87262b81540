"""Records of one run with their times in, the text of its log out: sorted, stamped, with the losses of a real tester."""

import random
from datetime import datetime, timedelta
from math import ceil
from typing import Final, NamedTuple

__all__ = ["Entry", "Timeline", "Written", "cleaned_size"]

# Above this the tester drops its oldest records behind the set-up; the stop section stays.
SIZE_LIMIT: Final = 290_000
# Share of lines that a log lacks, as the records of a busy tester do.
LOST_LINES: Final = (0.02, 0.04)
BUFFERING_SHARE: Final = 0.3
DAMAGED_SHARE: Final = 0.03
_NO_DIGITS: Final = dict.fromkeys(map(ord, "0123456789."))


class Entry(NamedTuple):
    """One record; `lines` are its payload and what continues it. `kept` entries are never lost."""

    at_ms: float
    order: int
    lines: tuple[str, ...]
    section: str = ""
    root: bool = False
    symptom: bool = False
    kept: bool = False


class Written(NamedTuple):
    text: bytes
    sections: tuple[tuple[str, int], ...]
    root_line: int | None
    last_symptom_line: int | None


class Timeline:
    """Collects the records of a run in any order."""

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
        self.entries.append(Entry(at_ms, len(self.entries), lines, section, root, symptom, kept))

    def characters(self) -> int:
        """Characters without numbers and times, as pre-processing counts them."""
        return sum(cleaned_size(line) for entry in self.entries for line in entry.lines)

    def write(self, rng: random.Random, start: datetime, indent: str) -> Written:
        """CRLF text. The first record of a root cause is never lost: a run must show what it is labelled for."""
        entries = self._limited(sorted(self.entries))
        stamps = self._stamps(rng, [entry.at_ms for entry in entries])
        loss = rng.uniform(*LOST_LINES)
        first_root = next((entry for entry in entries if entry.root), None)
        out: list[str] = []
        sections: list[tuple[str, int]] = []
        root = symptom = None
        for entry, at in zip(entries, stamps, strict=True):
            if entry.section:
                sections.append((entry.section, len(out) + 1))
            safe = entry.kept or entry.section or entry is first_root
            stamp = _stamp(start + timedelta(milliseconds=at))
            for i, line in enumerate(entry.lines):
                if not safe and rng.random() < loss:
                    if i == 0:
                        break  # what would continue it would stand under another record
                    continue
                text = f"{stamp}\t{line}" if i == 0 else indent + line
                if i == 0 and entry.root and root is None:
                    root = len(out) + 1
                if i == 0 and entry.symptom:
                    symptom = len(out) + 1
                out.append(text)
        return Written(_encoded(out, rng), tuple(sections), root, symptom)

    def _limited(self, entries: list[Entry]) -> list[Entry]:
        """Oldest records of the traffic go until the rest fits."""
        excess = sum(map(_size, entries)) - SIZE_LIMIT
        if excess <= 0:
            return entries
        first = next(i for i, entry in enumerate(entries) if entry.section == "traffic")
        end = first + 1
        while excess > 0 and end < len(entries) and not entries[end].section:
            if not entries[end].root:
                excess -= _size(entries[end])
            end += 1
        note = Entry(
            entries[end - 1].at_ms, -1, ("I: TMAE 0x0 Information - Log size limit reached, oldest records discarded.",)
        )
        return [*entries[: first + 1], *(e for e in entries[first + 1 : end] if e.root), note, *entries[end:]]

    @staticmethod
    def _stamps(rng: random.Random, times: list[float]) -> list[float]:
        """A tester that buffers its output stamps what it flushes with one time."""
        if rng.random() >= BUFFERING_SHARE or not times:
            return times
        window = rng.uniform(5, 50)
        return [times[0] + ceil((at - times[0]) / window) * window for at in times]


def cleaned_size(line: str) -> int:
    """Characters of a line that are left when its numbers are removed, about."""
    return len(line.translate(_NO_DIGITS)) + 1


def _size(entry: Entry) -> int:
    """Characters with stamp, indents and line ends, about."""
    return sum(map(len, entry.lines)) + 18 + 6 * len(entry.lines)


def _stamp(at: datetime) -> str:
    return f"{at:%d/%m/%y %H:%M:%S}:{at.microsecond // 1000:03d}"


def _encoded(lines: list[str], rng: random.Random) -> bytes:
    """A few logs hold bytes that are no UTF-8, such as a degree sign in Latin-1."""
    data = [line.encode() for line in lines]
    if rng.random() < DAMAGED_SHARE:
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(data))
            data[place] += b" " + bytes([rng.randrange(0x80, 0x100)])
    return b"\r\n".join(data) + b"\r\n"
