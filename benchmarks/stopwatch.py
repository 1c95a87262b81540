"""Measures the time spent in named calls, and the memory of an object."""

import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from time import perf_counter
from types import FunctionType, ModuleType
from typing import ParamSpec, TypeVar

__all__ = ["Stopwatch", "kept_bytes"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Stopwatch:
    """Adds up seconds by name. Time in a timed call within a timed call counts only for the inner one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        # For each timed call in progress, the seconds spent in timed calls within it.
        self._within: list[float] = []

    def timed(self, name: str, call: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        """The same callable, with its time added to `name`."""

        def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            self._within.append(0.0)
            start = perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                whole = perf_counter() - start
                self.seconds[name] += whole - self._within.pop()
                if self._within:
                    self._within[-1] += whole

        return wrapper

    def watch(self, owner: object, attribute: str, name: str) -> None:
        """Replaces `owner.attribute` by a callable that is timed as `name`."""
        setattr(owner, attribute, self.timed(name, getattr(owner, attribute)))


def kept_bytes(thing: object, seen: set[int] | None = None) -> int:
    """Bytes of an object and of all objects it refers to, each counted once. Classes and functions are left out.

    Args:
        thing: The object.
        seen: Identities of objects that are left out too; those that are counted are added.
    """
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, type | ModuleType | FunctionType):
        return 0
    seen.add(id(thing))
    parts: list[object] = []
    if isinstance(thing, Mapping):
        parts += [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset):
        parts += thing
    else:
        slots = [slot for kind in type(thing).__mro__ for slot in getattr(kind, "__slots__", ())]
        parts += [getattr(thing, slot) for slot in slots if hasattr(thing, slot)]
        parts += getattr(thing, "__dict__", {}).values()
    return sys.getsizeof(thing) + sum(kept_bytes(part, seen) for part in parts)
