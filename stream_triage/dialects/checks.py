"""Single values of dialect files in; the values as the reader uses them out, or a `ValueError` that says what is wrong."""

import re
from string import Formatter
from typing import Annotated, Final

from pydantic import AfterValidator

from stream_triage.dialects.words import words_of

__all__ = [
    "Beginning",
    "Columns",
    "Entity",
    "Module",
    "Pattern",
    "Phrase",
    "Phrases",
    "ReadingPattern",
    "UeNumbers",
    "Words",
]

RECORD_GROUPS: Final = ("module", "level", "level2")
"""Groups that a pattern of `records` may have."""


def _compiled(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None


def _pattern(text: str) -> str:
    _compiled(text)
    return text


def _beginning(text: str) -> str:
    pattern = _compiled(text)
    if pattern.match(""):
        raise ValueError(f"{text!r} matches an empty line, so every line would begin a record")
    if unknown := set(pattern.groupindex) - set(RECORD_GROUPS):
        raise ValueError(f"{text!r} has a group {min(unknown)!r}; groups are {', '.join(RECORD_GROUPS)}")
    return text


def _entity(text: str) -> str:
    pattern = _compiled(text)
    if not pattern.groupindex or pattern.groups > len(pattern.groupindex):
        raise ValueError(f"{text!r} needs a group with a name for the id, such as (?P<ue>\\d+), and no group without one")
    return text


def _numbers_of_ues(text: str) -> str:
    if "ues" not in _compiled(text).groupindex:
        raise ValueError(f"{text!r} needs a group (?P<ues>...) for the numbers of the UEs")
    return text


def _reading(text: str) -> str:
    if not _compiled(text).groups:
        raise ValueError(f"{text!r} needs a group for the number")
    return text


def _phrase(phrase: str) -> str:
    if not re.search(r"\w", phrase):
        raise ValueError(f"{phrase!r} has no word")
    if not all(words_of(part).strip() for part in phrase.split("*")):
        raise ValueError(f"{phrase!r} needs words before and after each `*`")
    return phrase


def _words(text: str) -> str:
    try:
        fields = {(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(text) if name is not None}
    except ValueError as error:
        raise ValueError(f"{text!r} has a brace that is not closed or not opened ({error})") from None
    if fields - {("who", "", None)}:
        raise ValueError(f"{text!r} may have no other braces than {{who}}")
    return text


def _module(name: str) -> str:
    return " ".join(words_of(name).split())


def _columns(columns: str) -> str:
    return " / ".join(", ".join(_module(name) for name in column.split(", ")) for column in columns.split(" / "))


Pattern = Annotated[str, AfterValidator(_pattern)]
"""A regular expression."""
Beginning = Annotated[str, AfterValidator(_beginning)]
"""One for how a record begins."""
Entity = Annotated[str, AfterValidator(_entity)]
"""One for what names a UE."""
UeNumbers = Annotated[str, AfterValidator(_numbers_of_ues)]
"""One for the UEs that a command sets up."""
ReadingPattern = Annotated[str, AfterValidator(_reading)]
"""One for a value that a record states."""
Phrase = Annotated[str, AfterValidator(_phrase)]
Phrases = tuple[Phrase, ...]
Words = Annotated[str, AfterValidator(_words)]
"""A sentence with `{who}` in it."""
Module = Annotated[str, AfterValidator(_module)]
"""A name as words in lower case, as the reader compares it."""
Columns = Annotated[str, AfterValidator(_columns)]
"""One column, or two with ` / ` between them. A column may have several names, with `, ` between them."""
