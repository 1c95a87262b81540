"""Three versions of an object in; the merged one, and what it changes and keeps, out.

The versions are what an earlier set-up installed, what is there now and what this product wants today. Each is a mapping of
parts, such as the schedule of a monitor or a panel of a dashboard. A part that people changed stays; any other follows the
product.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from operator import eq
from typing import Any, Final

from stream_triage.setup.installed import Copy

__all__ = ["MISSING", "Merge", "contains", "differences", "first_differences", "merge", "shown"]

SHOWN_CHARACTERS: Final = 60
DIFFERENCES_SHOWN: Final = 12


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING: Final = _Missing()


@dataclass
class Merge:
    """The result."""

    parts: dict[str, Any]
    """The merged object."""
    changed: list[str] = field(default_factory=list)
    """What differs from what is there now, in words; empty if nothing has to be written."""
    kept: dict[str, str] = field(default_factory=dict)
    """By part, what people changed and stays, in words."""

    def copy(self, installed: Copy | None, wanted: Mapping[str, Any], stored: Mapping[str, Any], name: str = "") -> Copy:
        """Returns what the next set-up has to know.

        Args:
            installed: The copy before.
            wanted: What this product wants.
            stored: The parts as the server has them now.
            name: The name that the server gave the object.
        """
        # A part that was kept still has people's change in it: its copy must not become the changed one.
        before = installed or Copy(wanted, wanted)
        sent, there = ({part: each[part] for part in self.kept if part in each} for each in (before.sent, before.stored))
        sent |= {part: value for part, value in wanted.items() if part not in self.kept}
        there |= {part: stored[part] for part in wanted if part not in self.kept and part in stored}
        return Copy(sent, there, name)


def merge(
    installed: Copy | None,
    now: Mapping[str, Any],
    wanted: Mapping[str, Any],
    *,
    loose: bool = False,
    reset: bool = False,
    theirs: Collection[str] = (),
) -> Merge:
    """Merges part by part. Parts that only people added stay as they are.

    Args:
        installed: The copy that the last set-up left, if any.
        now: What is there now.
        wanted: What this product wants.
        loose: The server goes on rewriting what it stores, so a part is unchanged if `contains` says so. Names that were
            added to a dictionary stay in it. Otherwise any difference from what was stored is a change by people.
        reset: Take the wanted version of each part, whoever changed it.
        theirs: Parts to keep if there is no copy. Without one nobody knows who changed what.
    """
    result = Merge(dict(now))
    before, same = installed or Copy({}, {}), contains if loose else eq
    for name in dict.fromkeys([*wanted, *before.sent]):
        ours, there, sent, stored = (each.get(name, MISSING) for each in (wanted, now, before.sent, before.stored))
        if installed:
            by_people = name not in before.sending and not _alike(stored, there, same)
        else:
            by_people = name in theirs and there is not MISSING
        if ours is there or ((by_people or installed is None) and _alike(ours, there, same)):
            continue
        if by_people and not reset:
            result.kept[name] = f"{name} was {_change_words(there)}; ours would be {shown(ours)}"
        elif by_people or installed is None or ours != sent:
            # Compared with what was sent before: what the server made of it differs in ways that nobody asked for.
            known = there if by_people or sent is MISSING else sent
            result.changed += differences(known, ours, name) if installed else [_arrow(name, known, ours)]
            if ours is MISSING:
                result.parts.pop(name, None)
            else:
                result.parts[name] = _overlaid(there, sent, ours) if loose else ours
    return result


def _alike(one: Any, other: Any, same: Callable[[Any, Any], bool]) -> bool:
    return one is other or (one is not MISSING and other is not MISSING and bool(same(one, other)))


def _change_words(there: Any) -> str:
    return "removed by someone" if there is MISSING else f"changed by someone to {shown(there)}"


def _overlaid(there: Any, sent: Any, ours: Any) -> Any:
    """Returns `ours` with what others have added to a dictionary: names that neither it nor its earlier version has."""
    if not isinstance(there, dict) or not isinstance(ours, dict) or not isinstance(sent, dict):
        return ours
    added = {name: value for name, value in there.items() if name not in ours and name not in sent}
    return {name: _overlaid(there.get(name), sent.get(name), value) for name, value in ours.items()} | added


def contains(sent: Any, there: Any) -> bool:
    """Whether `there` says the same as `sent`, though it may say more.

    Dashboards adds fields to what it is sent, orders them anew, and stores numbers and booleans as text or the other way
    round.
    """
    if isinstance(sent, dict):
        return isinstance(there, dict) and all(
            contains(value, there[name]) if name in there else value in (None, "", {}, []) for name, value in sent.items()
        )
    if isinstance(sent, list):
        return isinstance(there, list) and len(sent) == len(there) and all(map(contains, sent, there))
    return sent == there or _scalar(sent) == _scalar(there)


def _scalar(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def differences(before: Any, after: Any, name: str = "") -> list[str]:
    """Returns the differences in words, one for each path at which the two differ.

    >>> differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3, "d": 4}}, "schedule")
    ['schedule.b.c: 2 → 3', 'schedule.b.d: nothing → 4']
    """
    return first_differences(list(_paths(before, after, name)), f"{name}: ")


def first_differences(found: list[str], about: str = "") -> list[str]:
    """The first of these differences, and how many more there are; `about` comes before that number."""
    more = len(found) - DIFFERENCES_SHOWN
    return found if more <= 0 else [*found[:DIFFERENCES_SHOWN], f"{about}{more} more differences"]


def _paths(before: Any, after: Any, path: str) -> Iterator[str]:
    if before == after:
        return
    pairs: Iterator[tuple[Any, Any, Any]]
    if isinstance(before, dict) and isinstance(after, dict):
        names = [*before, *(name for name in after if name not in before)]
        pairs = ((f"{path}.{name}", before.get(name, MISSING), after.get(name, MISSING)) for name in names)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = ((f"{path}[{number}]", *pair) for number, pair in enumerate(zip(before, after, strict=True)))
    else:
        yield _arrow(path, before, after)
        return
    for inner, one, other in pairs:
        yield from _paths(one, other, inner.lstrip("."))


def _arrow(path: str, before: Any, after: Any) -> str:
    """Both values in few characters; of long texts, those at which they begin to differ."""
    start = 0
    if isinstance(before, str) and isinstance(after, str) and max(len(before), len(after)) > SHOWN_CHARACTERS:
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
        start = max(common - SHOWN_CHARACTERS // 4, 0)
        before, after = before[start:], after[start:]
    dots = "…" if start else ""
    return f"{path}: {dots}{shown(before)} → {dots}{shown(after)}"


def shown(value: Any) -> str:
    """Returns a value in few characters."""
    if value is MISSING or value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
