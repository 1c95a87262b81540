"""Lines of one source with their clues in, in order; whether the last one can be the end of a record or table, out.

A source teaches its own structure: which lines have always been followed by another line of their record, which table had
how many rows. Equal lines in a row are one step, with a number of rows.
"""

from typing import Final, NamedTuple

from stream_triage.stages.completeness.clues import Clues

__all__ = ["MAX_KINDS", "Order", "Stop"]

# Kinds of lines, and pairs of them, that are kept of one source. Beyond that, those that came once are forgotten.
MAX_KINDS: Final = 128
# A line tells what comes next after this often: a pair of lines within a record, a line alone, lines without time stamps.
SEEN_PAIR: Final = 1
SEEN_ALONE: Final = 2
SEEN_NEXT: Final = 3
# So often a table must have had at least so many rows, for a shorter one to be cut.
SEEN_TABLES: Final = 2
ROWS: Final = 3
# Share of the lines with a time stamp above which a line without one continues a record.
STAMPED_SHARE: Final = 0.2


class Stop(NamedTuple):
    """Why a source cannot end where it does: `record`, `line` or `table`, the rows that the table has, and had at least."""

    kind: str
    rows: int = 0
    at_least: int = 0


class _Kind:
    """What came after a certain kind of line so far."""

    __slots__ = ("goes_on", "number", "order", "seen", "starts_body")

    def __init__(self, number: int, order: int) -> None:
        self.number = number
        self.order = order
        """How many other kinds came before its first line."""
        self.seen = 0
        self.goes_on = True
        """Whether the next line always continued the record."""
        self.starts_body = False
        """Whether it was once the first line to continue a record."""


class _Pair:
    """What came after a certain pair of lines so far."""

    __slots__ = ("goes_on", "next", "rows", "seen")

    def __init__(self, next_kind: int | None) -> None:
        self.seen = 0
        self.next = next_kind
        """Kind of the line that always came next; None if several did, or if it may be the next round of a loop."""
        self.goes_on = True
        self.rows = 1 << 30
        """Fewest lines of the second kind in a row."""


class Order:
    """What followed what in one source. Bounded."""

    def __init__(self) -> None:
        self._kinds: dict[int, _Kind] = {}
        self._pairs: dict[tuple[int, int], _Pair] = {}
        self._order = 0
        """Number of kinds so far."""
        self._before: _Kind | None = None
        """Kinds of the last two steps."""
        self._last: _Kind | None = None
        self._last_body = False
        self._rows = 0
        self._first = 0
        self.texts = 0
        """Lines with text, and of these the ones with a time stamp."""
        self.stamped = 0
        self.first_again = False
        """Whether the kind of the first line came again later."""

    @property
    def has_records(self) -> bool:
        """Whether enough lines have a time stamp for those without one to continue a record."""
        return self.stamped >= STAMPED_SHARE * self.texts

    def take(self, clue: Clues) -> None:
        """Takes the next line with text."""
        self.texts += 1
        number, body, last = clue.kind, clue.body, self._last
        if last is not None and number == last.number:
            self._rows += 1
            self.stamped += not body
            return
        kind = self._kinds.get(number)
        if kind is None:
            kind = _Kind(number, self._order)
            self._order += 1
            if len(self._kinds) >= MAX_KINDS:
                self._kinds = {key: some for key, some in self._kinds.items() if some.seen > 1}
            if len(self._kinds) < MAX_KINDS:
                self._kinds[number] = kind
        elif number == self._first:
            self.first_again = True
        if last is None:
            self._first = number
        else:
            last.seen += 1
            if not body:
                last.goes_on = False
            if self._last_body:
                self._count(clue, kind, last)
            elif body:
                # A record may hold one table for each UE: what begins the lines after a record may also begin anew within
                # them.
                kind.starts_body = True
        self.stamped += not body
        self._before, self._last, self._last_body, self._rows = last, kind, body, 1

    def _count(self, clue: Clues, kind: _Kind, last: _Kind) -> None:
        """Counts a step from a line that continued a record. Records themselves interleave, so their order says nothing."""
        goes_on = clue.body and not kind.starts_body
        last.goes_on &= goes_on
        key = (self._before.number if self._before else 0, last.number)
        pair = self._pairs.get(key)
        if pair is None:
            if len(self._pairs) >= MAX_KINDS:
                self._pairs = {some: known for some, known in self._pairs.items() if known.seen > 1}
            if len(self._pairs) >= MAX_KINDS:
                return
            # Lines of a loop are always followed by one that came before, and it may stop after any round or before one
            # more failure.
            pair = self._pairs[key] = _Pair(clue.kind if kind.order > last.order and not clue.failure else None)
        pair.seen += 1
        if pair.next != clue.kind:
            pair.next = None
        pair.goes_on &= goes_on
        pair.rows = min(pair.rows, self._rows)

    def stop(self) -> Stop | None:
        """Why the source cannot end here; None if it can."""
        last = self._last
        if last is None:
            return None
        pair = self._pairs.get((self._before.number if self._before else 0, last.number)) if self._last_body else None
        if self.has_records:
            if pair and pair.seen >= SEEN_PAIR and pair.goes_on:
                return Stop("record")
            if not pair and last.seen >= SEEN_ALONE and last.goes_on:
                return Stop("record")
        elif pair and pair.seen >= SEEN_NEXT and pair.next is not None:
            return Stop("line")
        if pair and pair.seen >= SEEN_TABLES and pair.rows >= ROWS and self._rows < pair.rows:
            return Stop("table", self._rows, pair.rows)
        return None
