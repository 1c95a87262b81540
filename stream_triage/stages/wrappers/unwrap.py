"""Whole lines of one source in; batches of lines without their wrappers out, one source for each service that they name.

The first lines are held back until `choose` has decided. Its decision depends on the lines and their order alone, so the
cutting of the bytes does not change it. Later lines are split as decided; one without the wrapper passes as it is. If most
lines of a block do not have it, the wrapper is undone from there on, and the verdict says so. A source in which no wrapper
was recognised is still watched, for a wrapped part that begins late.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from stream_triage.escapes import without_escapes
from stream_triage.stages.wrappers.batches import Batch, Output
from stream_triage.stages.wrappers.choose import Judge, choose
from stream_triage.stages.wrappers.collector_lines import is_collector_line
from stream_triage.stages.wrappers.join import Joiner
from stream_triage.stages.wrappers.layout import Layout

__all__ = ["OTHER_SERVICES", "Unwrapper"]

# After so many lines with text the source is looked at, and again until something is certain.
CHECKS: Final = (16, 64, 256, 1024)
# It is looked at through its last lines; at its end also through few of them, for a wrapped part that has only begun.
_WINDOW: Final = 64
_LAST_WINDOWS: Final = (64, 16)
MOST_HELD_LINES: Final = 4096
MOST_HELD_CHARACTERS: Final = 1 << 17
# Decided sources are checked in blocks of so many lines.
BLOCK: Final = 64
_FEWEST_TEXTS: Final = 16
_MATCHING: Final = 0.5
# Share of the lines before the wrapped part that a bundle may know by chance.
_KNOWN_IN_BANNER: Final = 0.1
_SHORTEST_BANNER: Final = 3
# So many lines tell whether the wrapped part begins.
_BEGINNING: Final = 8
# Lines of a block that are looked at where nothing was found; blocks that are skipped after one in which nothing is found.
_PROBES: Final = 2
_MOST_SKIPPED: Final = 16
# A source changes its wrapper at most so often.
MOST_CHANGES: Final = 8
MOST_SERVICES: Final = 64
OTHER_SERVICES: Final = "other services"
"""Name of the source of all services beyond `MOST_SERVICES`."""


class Unwrapper:
    """Takes the wrappers off the lines of one source. `input_format` is the setting `input.format`."""

    def __init__(self, judge: Judge, input_format: str = "auto") -> None:
        self._judge = judge
        self._off = input_format == "none"
        self._forced = input_format if input_format not in ("auto", "none") else ""
        self._layout: Layout | None = Layout() if self._off else None
        self._held: list[str] = []
        self._held_characters = 0
        self._held_texts = 0
        self._lines = 0
        self._block: list[str] = []
        self._banner = 0
        self._begun = False
        self._texts = self._matching = 0
        self._skip = self._next_skip = 0
        self._changes = 0
        self._joiners: dict[str, Joiner] = {}
        self._services: set[str] = set()
        self._names: dict[str, None] = {}
        self._escapes = False
        self.problems: list[str] = []
        """What a verdict should say about the wrappers."""

    @property
    def held(self) -> Sequence[str]:
        """Lines that wait for the decision."""
        return self._held

    def again(self) -> "Unwrapper":
        """A fresh one for the lines that are held back, to see what would be decided if no more came."""
        other = Unwrapper(self._judge, self._forced or "auto")
        other._escapes = self._escapes
        return other

    @property
    def stripped(self) -> str:
        """The wrappers that came off so far; empty if there were none."""
        names = ", then ".join(self._names)
        return " + ".join(name for name in (names, "escape sequences" if self._escapes else "") if name)

    def shown_body(self, shown: str) -> str:
        """What models read of a line, from the line as it is shown."""
        return self._layout.shown_body(shown) if self._layout else shown

    def take(self, lines: list[str], *, final: bool = False) -> list[Batch]:
        """Takes the next lines; with `final`, no more will come and nothing is held back any longer."""
        if self._off:
            return [Batch("", lines)] if lines else []
        lines = self._without_escapes(lines)
        output = Output()
        if self._layout is None:
            lines = self._decide(lines, final)
        if self._layout is not None:
            self._release(lines, output)
        if final:
            for service, joiner in self._joiners.items():
                output.add(service, joiner.finish())
            self._joiners.clear()
        return output.batches()

    def _without_escapes(self, lines: list[str]) -> list[str]:
        if not any("\x1b" in line or "\x9b" in line for line in lines):
            return lines
        self._escapes = True
        return [without_escapes(line) if "\x1b" in line or "\x9b" in line else line for line in lines]

    def _decide(self, lines: list[str], final: bool) -> list[str]:
        """Holds the lines back until their wrappers are known; returns all that were held, and those that follow."""
        for i, line in enumerate(lines):
            self._held.append(line)
            self._held_characters += len(line)
            text = bool(line.strip())
            self._held_texts += text
            full = len(self._held) >= MOST_HELD_LINES or self._held_characters >= MOST_HELD_CHARACTERS
            full = full or self._held_texts == CHECKS[-1]
            if full or (text and self._held_texts in CHECKS):
                self._look(full)
            if self._layout is not None:
                return self._let_go() + lines[i + 1 :]
        if final:
            self._look(True)
            return self._let_go()
        return []

    def _look(self, final: bool) -> None:
        """Decides, if that is possible yet."""
        texts = [line for line in self._held if line.strip()]
        for size in _LAST_WINDOWS if final else (_WINDOW,):
            if size < len(texts) or size == _WINDOW:
                first = len(texts) <= size
                layout = choose(texts[-size:], self._judge, forced=self._forced, first=first, final=final)
                if layout:
                    self._banner = self._banner_lines(layout)
                if layout or (layout is not None and not final):
                    self._set(layout)
                    return
        if final:
            self._set(Layout())

    def _banner_lines(self, layout: Layout) -> int:
        """How many lines stand before the first one with the wrapper, if the bundle knows hardly any of them.

        They are the collector's, such as the steps before a test: the log of the program begins behind them.
        """
        if not layout.layers:
            return 0
        # A line of the collector may look like the prefix by chance, so nearly all lines behind the first one must have it.
        outer = [(i, layout.split(line).outer) for i, line in enumerate(self._held) if line.strip()]
        count = next(
            (
                i
                for at, (i, first) in enumerate(outer)
                if first and _nearly_all(found for _, found in outer[at : at + _BEGINNING])
            ),
            0,
        )
        texts = [line for line in self._held[:count] if line.strip()]
        known = self._judge.count(texts)
        if known and (len(texts) < _SHORTEST_BANNER or known > _KNOWN_IN_BANNER * len(texts)):
            return 0
        return count + self._wrapped_banner_lines(layout, count)

    def _wrapped_banner_lines(self, layout: Layout, start: int) -> int:
        """How many further lines come before the first one that the bundle knows, if they are too many for one program.

        A runner that stamps every line stamps what it does before the test, too.
        """
        texts = [(i, body) for i, line in enumerate(self._held[start:]) if (body := layout.read(line)).strip()]
        known = self._judge.known([body for _, body in texts])
        unknown = known.index(True) if True in known else 0
        return texts[unknown][0] if unknown >= _SHORTEST_BANNER else 0

    def _set(self, layout: Layout) -> None:
        self._layout = layout
        self._texts = self._matching = 0
        self._begun = False
        if layout:
            self._changes += 1
            self._names[layout.name] = None

    def _let_go(self) -> list[str]:
        held, self._held = self._held, []
        self._held_characters = 0
        return held

    def _release(self, lines: list[str], output: Output) -> None:
        """Splits the lines as decided, block by block: at the end of a block the decision may change."""
        start = 0
        while start < len(lines):
            part = lines[start : start + BLOCK - self._lines % BLOCK]
            start += len(part)
            if self._layout:
                self._split(part, self._layout, output)
            else:
                output.plain(part)
                self._block += part
            self._lines += len(part)
            if self._lines % BLOCK == 0:
                self._check_block(output)
                self._block = []

    def _split(self, lines: Iterable[str], layout: Layout, output: Output) -> None:
        for line in lines:
            unwrapped = layout.split(line)
            if self._banner:
                self._banner -= 1
                unwrapped = unwrapped._replace(split=unwrapped.split._replace(mark=True))
            elif layout.layers and is_collector_line(unwrapped.split.body) and not self._judge.count([layout.read(line)]):
                unwrapped = unwrapped._replace(split=unwrapped.split._replace(mark=True))
            self._begun = self._begun or unwrapped.outer
            if self._begun and line.strip():
                self._texts += 1
                self._matching += unwrapped.outer
            service = self._service(unwrapped.split.service)
            if layout.joins and unwrapped.outer:
                joiner = self._joiners.get(service)
                if joiner is None:
                    joiner = self._joiners[service] = Joiner(look_ahead=layout.looks_ahead)
                output.add(service, joiner.add(unwrapped))
            else:
                if service in self._joiners:
                    output.add(service, self._joiners[service].finish())
                output.add(service, (unwrapped,))

    def _service(self, name: str) -> str:
        if not name or name in self._services:
            return name
        if len(self._services) < MOST_SERVICES:
            self._services.add(name)
            return name
        problem = f"the log names more than {MOST_SERVICES} services; the others are one source, {OTHER_SERVICES}"
        if problem not in self.problems:
            self.problems.append(problem)
        return OTHER_SERVICES

    def _check_block(self, output: Output) -> None:
        if not self._layout:
            self._watch()
        elif self._layout.layers and self._texts >= _FEWEST_TEXTS:
            if self._matching < _MATCHING * self._texts:
                self._undo(self._layout, output)
            self._texts = self._matching = 0

    def _undo(self, layout: Layout, output: Output) -> None:
        for service, joiner in self._joiners.items():
            output.add(service, joiner.finish())
        self._joiners.clear()
        self.problems.append(
            f"from line {self._lines + 1} on, lines no longer have the prefix of {layout.name}; they were read as they are"
        )
        self._set(Layout())

    def _watch(self) -> None:
        """Looks for a wrapper that begins late, where the bundle does not know the lines."""
        if self._changes >= MOST_CHANGES:
            return
        if self._skip:
            self._skip -= 1
            return
        texts = [line for line in self._block if line.strip()]
        if len(texts) < _FEWEST_TEXTS or self._judge.count(texts[-_PROBES:]):
            return
        layout = choose(texts, self._judge, first=False)
        if layout:
            self._next_skip = 0
            self._set(layout)
        else:
            self._skip = self._next_skip
            self._next_skip = min(2 * self._next_skip + 3, _MOST_SKIPPED)


def _nearly_all(flags: Iterable[bool]) -> bool:
    values = list(flags)
    return 4 * sum(values) > 3 * len(values)
