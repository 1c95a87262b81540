"""Lines in, the same lines after the rules of the table out, tried again and again until they change nothing."""

from collections.abc import Iterable
from typing import Final

from stream_triage.stages.redact.rule import Mark
from stream_triage.stages.redact.triggers import COMPILED, CONTEXT, Compiled, lines_to_try

__all__ = ["MOST_ROUNDS", "redact_by_rules", "try_rules"]

# What a rule leaves can be a secret to an earlier rule, so changed lines are tried again. No known line needs more rounds
# than this; the bound is for lines made to keep changing.
MOST_ROUNDS: Final = 6


def redact_by_rules(text: str, mark: Mark, rounds: int = MOST_ROUNDS) -> str:
    """Runs the rules over the lines with triggers, and again over what they changed until nothing changes."""
    ends, starts_of = lines_to_try(text)
    starts_of.pop(CONTEXT, None)
    return try_rules(text, mark, ends, starts_of, rounds)


def try_rules(
    text: str, mark: Mark, ends: dict[int, int], starts_of: dict[int, list[int]], rounds: int = MOST_ROUNDS
) -> str:
    """The same for lines with triggers that `lines_to_try` has found."""
    if not starts_of:
        return text
    now = {start: text[start:end] for start, end in ends.items()}
    for number in sorted(starts_of):
        _apply(COMPILED[number], now, sorted(set(starts_of[number])), mark)
    changed = sorted(start for start, end in ends.items() if now[start] != text[start:end])
    if not changed:
        return text
    if rounds > 1:
        again = redact_by_rules("\n".join(now[start] for start in changed), mark, rounds - 1)
        now.update(zip(changed, again.split("\n"), strict=True))
    return _spliced(text, ((start, ends[start], now[start]) for start in changed))


def _apply(compiled: Compiled, now: dict[int, str], starts: list[int], mark: Mark) -> None:
    """One rule, in one call over all its lines."""
    before = "\n".join([now[start] for start in starts])
    parts = list(_replaced(compiled, before, mark))
    if parts:
        now.update(zip(starts, _spliced(before, parts).split("\n"), strict=True))


def _replaced(compiled: Compiled, text: str, mark: Mark) -> Iterable[tuple[int, int, str]]:
    """Start, end and marker of each secret that one rule sees in a text."""
    accept, kind, group = compiled.rule.accept, compiled.rule.kind, "v" if compiled.grouped else 0
    done = 0
    for match in compiled.pattern.finditer(text):
        start, end = match.span(group)
        if start < 0:
            start, end = match.span()
        # A group in a look-ahead may reach into the next match.
        if start >= done and (accept is None or accept(match)):
            yield start, end, mark(kind, text[start:end])
            done = end


def _spliced(text: str, parts: Iterable[tuple[int, int, str]]) -> str:
    """The text with some stretches (start, end, new text) replaced, given in order."""
    pieces: list[str] = []
    done = 0
    for start, end, new in parts:
        pieces += (text[done:start], new)
        done = end
    return "".join([*pieces, text[done:]])
