"""Documents in, the same documents in colour, with unusual blanks or in escapes out, with the labels moved along.

Whoever finds a secret in the plain text should find it in all of these, since they show the same text to a reader.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from benchmarks.redaction.documents import Document, Secret

__all__ = ["DECORATIONS", "decorated"]


class Sign:
    """A character of the plain text: what is written for it, and around it."""

    __slots__ = ("after", "before", "text")

    def __init__(self, text: str) -> None:
        self.before, self.text, self.after = "", text, ""


Signs = list[Sign]

_JSON: Final = {
    "\t": "\\t",
    '"': '\\"',
    "\\": "\\\\",
    "/": "\\/",
    "=": "\\u003d",
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
}
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9_.~-]")


def decorated(document: Document, decoration: str) -> Document:
    """The document in one of `DECORATIONS`."""
    signs = [Sign(character) for character in document.text]
    DECORATIONS[decoration](signs, document)
    starts, ends, length = [], [], 0
    around: list[tuple[int, int]] = []
    for sign in signs:
        starts.append(length + len(sign.before))
        ends.append(starts[-1] + len(sign.text))
        around += [(length, starts[-1])] if sign.before else []
        length = ends[-1] + len(sign.after)
        around += [(ends[-1], length)] if sign.after else []

    def moved(spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        return tuple((starts[start], ends[end - 1]) for start, end in spans)

    secrets = tuple(Secret(moved(secret.spans)) for secret in document.secrets)
    return Document(
        document.kind,
        document.number,
        "".join(sign.before + sign.text + sign.after for sign in signs),
        secrets,
        (*moved(document.optional), *around),
    )


def _secret_lines(document: Document) -> set[int]:
    """The starts of the lines with a piece of a secret."""
    return {document.text.rfind("\n", 0, start) + 1 for secret in document.secrets for start, _ in secret.spans}


def _line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer("\n", text))]


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return end if end >= 0 else len(text)


def _before_names(signs: Signs, document: Document) -> None:
    """A colour in front of every word of the lines with secrets, and its end behind the word."""
    inside = {at for secret in document.secrets for start, end in secret.spans for at in range(start, end)}
    for start in _secret_lines(document):
        for word in _WORD.finditer(document.text, start, _line_end(document.text, start)):
            if not inside.intersection(range(*word.span())):
                signs[word.start()].before = "\x1b[36m" + signs[word.start()].before
                signs[word.end() - 1].after += "\x1b[0m"


def _whole_lines(signs: Signs, document: Document) -> None:
    for start in _line_starts(document.text):
        end = _line_end(document.text, start)
        if end > start:
            signs[start].before = "\x1b[1;31m" + signs[start].before
            signs[end - 1].after += "\x1b[0m"


def _values(signs: Signs, document: Document) -> None:
    for secret in document.secrets:
        for start, end in secret.spans:
            signs[start].before = "\x1b[32m" + signs[start].before
            signs[end - 1].after += "\x1b[39m"


def _reset_at_end(signs: Signs, document: Document) -> None:
    """As `docker compose logs` writes lines."""
    for start in _line_starts(document.text):
        end = _line_end(document.text, start)
        if end > start:
            signs[end - 1].after += "\x1b[0m\x1b[K"


def _inside_values(signs: Signs, document: Document) -> None:
    """A match of `grep --color` within the value."""
    for secret in document.secrets:
        for start, end in secret.spans:
            signs[(start + end) // 2].before, signs[(start + end) // 2].after = "\x1b[01;31m\x1b[K", "\x1b[m\x1b[K"


def _blanks(signs: Signs, _: Document) -> None:
    for sign in signs:
        sign.text = sign.text.replace(" ", "\xa0")


def _zero_width(signs: Signs, document: Document) -> None:
    """Within the names and in front of the values."""
    for start in _secret_lines(document):
        for word in _WORD.finditer(document.text, start, _line_end(document.text, start)):
            signs[(word.start() + word.end()) // 2].before = "\u200b" + signs[(word.start() + word.end()) // 2].before
    for secret in document.secrets:
        for start, _end in secret.spans:
            signs[start].before = "\ufeff" + signs[start].before


def _percent(signs: Signs, _: Document) -> None:
    for sign in signs:
        if sign.text != "\n" and sign.text.isascii() and not _UNRESERVED.match(sign.text):
            sign.text = f"%{ord(sign.text):02X}"


def _json(signs: Signs, document: Document) -> None:
    """Each line as a member of an object of its own, as some loggers write it: `/`, `=` and brackets escaped."""
    for sign in signs:
        sign.text = _JSON.get(sign.text, sign.text)
    _framed(signs, document, '{"log":"', '\\n"}')


def _double_json(signs: Signs, document: Document) -> None:
    """A JSON object as a string in another one."""
    _json(signs, document)
    for sign in signs:
        sign.before, sign.text, sign.after = (
            part.replace("\\", "\\\\").replace('"', '\\"') for part in (sign.before, sign.text, sign.after)
        )
    _framed(signs, document, '{"message":"', '","level":"info"}')


def _html(signs: Signs, _: Document) -> None:
    entities = {'"': "&quot;", "'": "&#39;", "<": "&lt;", ">": "&gt;", "&": "&amp;"}
    for sign in signs:
        sign.text = entities.get(sign.text, sign.text)


def _framed(signs: Signs, document: Document, before: str, after: str) -> None:
    for start in _line_starts(document.text):
        end = _line_end(document.text, start)
        if end > start:
            signs[start].before = before + signs[start].before
            signs[end - 1].after += after


DECORATIONS: Final[Mapping[str, Callable[[Signs, Document], None]]] = {
    "colour before names": _before_names,
    "coloured lines": _whole_lines,
    "coloured values": _values,
    "colour inside values": _inside_values,
    "reset at the end": _reset_at_end,
    "no-break spaces": _blanks,
    "zero-width characters": _zero_width,
    "percent escapes": _percent,
    "JSON": _json,
    "JSON in JSON": _double_json,
    "HTML": _html,
}
