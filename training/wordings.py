"""A random generator in, invented names of a program out: what planted failures are about."""

import random
import re
from collections.abc import Callable
from typing import Final

__all__ = ["Write", "call", "camel", "name", "number", "snake"]

Write = Callable[[random.Random], list[str]]
"""Writes the lines of a failure."""

_PARTS: Final[list[str]] = re.findall(
    r"\w+",
    """
    account buffer cache catalog channel client cluster codec config cursor date decoder device driver encoder
    engine entry event export feed field filter frame graph group handler header index input invoice job key
    layer layout ledger link list loader lock map matrix menu message model node option order packet page parser
    path payment pixel plan policy pool port price process profile proxy query queue reader record region report
    request response route rule scene schema scope search sensor session shape signal socket state storage
    stream style table target task template tenant theme thread ticket token topic tree user vector version view
    volume widget window worker writer zone
    """,
)
_VERBS: Final[list[str]] = re.findall(
    r"\w+",
    """
    add apply build check close copy create decode encode fetch find flush load merge move open parse read
    """,
)


def name(rng: random.Random) -> str:
    """An everyday word, such as `queue`."""
    return rng.choice(_PARTS)


def camel(rng: random.Random) -> str:
    """A class, such as `QueueReader`."""
    return name(rng).title() + name(rng).title()


def call(rng: random.Random) -> str:
    """A method, such as `openQueue`."""
    return rng.choice(_VERBS) + name(rng).title()


def snake(rng: random.Random) -> str:
    """A function, such as `open_queue`."""
    return f"{rng.choice(_VERBS)}_{name(rng)}"


def number(rng: random.Random, most: int = 400) -> int:
    """From 2 to `most`."""
    return rng.randint(2, most)
