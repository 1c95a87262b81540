"""The kinds of fault: each is a function that injects one fault into a world, with the promise that it must not break."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.services.chaos.world import World

__all__ = ["FAULTS", "Fault", "fault"]


@dataclass(frozen=True)
class Fault:
    """A kind of fault. Of 600 faults, `weight` are of this kind."""

    name: str
    weight: int
    promise: str
    act: "Callable[[World], None]"


FAULTS: dict[str, Fault] = {}


def fault(name: str, weight: int, promise: str) -> "Callable[[Callable[[World], None]], Callable[[World], None]]":
    """Adds a function to `FAULTS`. The function draws all its choices from `world.rng`."""

    def add(act: "Callable[[World], None]") -> "Callable[[World], None]":
        FAULTS[name] = Fault(name, weight, promise, act)
        return act

    return add
