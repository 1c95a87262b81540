"""Lines in, the same lines as a reader sees them out, and a redacted view back into the line that it was made from.

Colours, invisible characters, other blanks and escapes in the notations of JSON, addresses and HTML stand between a name and
its value, and within both. Rules must not depend on them, so they are applied to views, in which these are removed or
decoded. Every view knows where its characters come from: what a rule replaces in the view is replaced in the line, and
everything else stays as it was written.

| view | differs from the line |
|---|---|
| `plain_view` | no escape sequences and invisible characters; every blank is a space; full-width signs are ASCII |
| `spaced_view` | the same with a space for each escape sequence, where one stands between two words |
| `decoded_view` | one level of escapes is decoded; what was an escaped line end splits the view into several lines |
| `flat_view` | all levels of escapes are decoded, then `plain_view`; one line |

Most lines have none of these characters and no views: `lines_with_views` is one cheap test for many lines.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from stream_triage.escapes import ESCAPE, LOST_ESCAPE
from stream_triage.stages.redact.rule import MARKER, line_numbers

__all__ = [
    "MOST_LEVELS",
    "View",
    "decoded_view",
    "flat_view",
    "has_payload",
    "has_views",
    "lines_with_views",
    "plain_view",
    "spaced_view",
]

# Levels of escapes that are decoded: JSON within JSON within JSON.
MOST_LEVELS: Final = 3

_BLANKS: Final = "\x0b\x0c\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\u2800"
# Soft hyphen, zero-width characters, direction marks, byte order marks, variation selectors, tags.
_UNSEEN: Final = (
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff"
)
_CONTROLS: Final = "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"
_ASCII_OF: Final = {
    **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
    **dict.fromkeys("\u2010\u2011\u2212\ufe63", "-"),
    "\ufe55": ":",
    "\ufe66": "=",
}
_OTHER_FORMS: Final = re.escape("".join(_ASCII_OF))
_ESCAPES: Final = rf"{ESCAPE}|{LOST_ESCAPE.pattern}"
# Escapes of JSON that neither end a string nor a line; quotes and line ends are left to `decoded_view`.
_HARMLESS: Final = r"\\{1,7}(?:/|u00(?:2[013-9A-Fa-f]|[3-7][0-9A-Fa-f](?<!5[Cc])|[Aa]0))"
_ESCAPE_RUN: Final = re.compile(rf"(?:{_ESCAPES})++")
# What an escape sequence carries besides a colour: the address of a link, a title.
_PAYLOAD: Final = re.compile(r"\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]")

_PERCENT: Final = r"%(?:25)*+(?:[2-7][0-9A-Fa-f]|0[9AaDd])|%(?:25)*+[C-Fc-f][0-9A-Fa-f](?:%(?:25)*+[89ABab][0-9A-Fa-f]){1,3}"
_ESCAPED: Final = r"\\(?:[\"'/\\nrt]|u[0-9A-Fa-f]{4}|x[2-7][0-9A-Fa-f])"
_BACKSLASH: Final = rf"(?<!\x1b){_ESCAPED}"  # with that it ends an escape sequence
_ENTITY: Final = r"&(?:amp;){0,4}(?:quot|apos|lt|gt|amp|nbsp|equals|colon|\#[0-9]{2,4}|\#[xX][0-9A-Fa-f]{2,4});"
_ENTITIES: Final = {
    "quot": '"',
    "apos": "'",
    "lt": "<",
    "gt": ">",
    "amp": "&",
    "nbsp": " ",
    "equals": "=",
    "colon": ":",
}
_PLAIN: Final = re.compile(
    rf"(?P<overprinted>[^\n\x08\x1b](?:\x08[^\n\x08\x1b])+)|(?P<escape>{_ESCAPES})|(?P<blank>[{_BLANKS}])|[{_OTHER_FORMS}]"
    rf"|[{_CONTROLS}{_UNSEEN}]|(?P<json>{_HARMLESS})|(?P<entity>{_ENTITY})|(?P<percent>{_PERCENT})"
)
_DECODED: Final = re.compile(rf"{_PERCENT}|{_BACKSLASH}|{_ENTITY}")
_DECODED_OR_QUOTE: Final = re.compile(rf'{_DECODED.pattern}|"')
# A string of a JSON object that is a text of its own, and the member that holds the message of a log record.
_OBJECT: Final = re.compile(r"[{\[,][ ]?\"")
_STRING: Final = re.compile(r'"(?:[^"\\\n]|\\.)*+"')
_TEXT: Final = re.compile(r"[\s\\%]")
_RECORD: Final = re.compile(
    r'(?P<before>[ \t]*\{[^{}\[\]\n]{0,512}?"(?:@?message|msg|log|text|line|event|body|content|(?:short|full)_message|output'
    r'|stdout|stderr)"[ ]?:[ ]?")(?:[^"\\\n]|\\.)*+(?P<after>"[^\n]*)',
    re.IGNORECASE,
)
_LETTERS: Final = {"n": "\n", "r": "\n", "t": "\t"}

_WIDE: Final = re.compile(rf"[\x80-\x9f{_BLANKS}{_UNSEEN}{_OTHER_FORMS}\u241b\ufffd]")
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")
# What a line must contain to have views, after a sign that is found faster. An alternative of two would be slow to search.
_SEARCHES: Final = tuple(
    (sign, re.compile(pattern))
    for sign, pattern in (
        ("%", _PERCENT),
        ("\\", rf"\\(?:{_ESCAPED[2:]}|(?:033|x1[bB]|e)\[)"),
        ("&", _ENTITY),
        ("^", r"\^\[\["),
        ("[", r"\[\d{1,3}(?:;\d{1,3}){0,5}m"),
    )
)
_CONTROL: Final = re.compile(f"[{_CONTROLS}\x0b\x0c]")
_ORDINARY: Final = bytes(code for code in range(128) if code in b"\t\n\r" or 32 <= code < 127)
_MARKER: Final = re.compile(f"({MARKER})")


class _Edit(NamedTuple):
    """A stretch of the line and what became of it in the view."""

    start: int
    end: int
    view_start: int
    view_end: int


class View:
    """One line as rules see it. A view of a view is redacted like any other line and restored twice."""

    __slots__ = ("_edits", "_line", "_view_ends", "_view_starts", "text")

    def __init__(self, line: str, text: str, edits: list[_Edit]) -> None:
        self.text = text
        self._line = line
        self._edits = edits
        self._view_starts = [edit.view_start for edit in edits]
        self._view_ends = [edit.view_end for edit in edits]

    def restore(self, redacted: str) -> str:
        """The line, without what markers have replaced in the view."""
        if redacted == self.text:
            return self._line
        spans = _replaced(self.text, redacted)
        if spans is None:
            return redacted
        pieces: list[str] = []
        done = 0
        for start, end, marker in spans:
            first, last = self._start(start), self._end(end)
            pieces += (self._line[done : max(done, first)], marker)
            done = max(done, last)
        return "".join([*pieces, self._line[done:]])

    def _start(self, position: int) -> int:
        """Where the character at a position of the view begins in the line, behind what was removed before it."""
        number = bisect_right(self._view_ends, position)
        if number < len(self._edits) and self._edits[number].view_start < position:
            return self._edits[number].start
        return position + self._edits[number - 1].end - self._edits[number - 1].view_end if number else position

    def _end(self, position: int) -> int:
        """Where the character before a position of the view ends in the line, before what was removed behind it."""
        number = bisect_left(self._view_starts, position)
        if not number:
            return position
        edit = self._edits[number - 1]
        return edit.end if position < edit.view_end else position + edit.end - edit.view_end


def lines_with_views(text: str) -> list[int]:
    """The numbers of the lines that have views, which is to say that these may differ from the line."""
    searches = [pattern for sign, pattern in _SEARCHES if sign in text]
    if not text.isascii() and _WIDE.search("".join(_NOT_ASCII.findall(text))):
        searches.append(_WIDE)
    # Most texts end here: deleting characters is faster than searching for others.
    if text.encode("ascii", "replace").translate(None, _ORDINARY):
        searches.append(_CONTROL)
    return line_numbers(text, [match.start() for pattern in searches for match in pattern.finditer(text)])


def has_views(line: str) -> bool:
    """Whether one line has views."""
    return bool(lines_with_views(line))


def plain_view(line: str) -> View:
    """The view without escape sequences, invisible characters and unusual blanks."""
    return _view(line, _PLAIN, _plain)


def spaced_view(line: str) -> View | None:
    """The view with spaces for escape sequences; None where none of them stands between two words."""
    if not any(
        line[match.start() - 1 : match.start()].isalnum() and line[match.end() : match.end() + 1].isalnum()
        for match in _ESCAPE_RUN.finditer(line)
    ):
        return None
    return _view(line, _PLAIN, lambda match: " " if match["escape"] else _plain(match))


def decoded_view(line: str) -> View | None:
    """The view with one level of escapes decoded; None if there are none."""
    if not _DECODED.search(line):
        return None
    quotes = {
        position
        for text in (_STRING.finditer(line) if _OBJECT.search(line) else ())
        if _TEXT.search(text[0])
        for position in (text.start(), text.end() - 1)
    }
    return _view(line, _DECODED_OR_QUOTE, lambda match: _decoded_or_quote(match, quotes))


def flat_view(line: str) -> View:
    """The view on one line with all levels of escapes decoded, for what goes over several lines of a log."""
    layers: list[View] = []
    text = line
    for _ in range(MOST_LEVELS):
        if record := _RECORD.fullmatch(text):
            layers.append(_without(text, record.span("before"), record.span("after")))
            text = layers[-1].text
        if not _DECODED.search(text):
            break
        layers.append(_view(text, _DECODED, lambda match: _decoded(match).replace("\n", " ")))
        text = layers[-1].text
    layers.append(plain_view(text))
    return layers[0] if len(layers) == 1 else _Layers(line, layers)


def is_record(line: str) -> bool:
    """Whether a line is a JSON record with a message: what the message shows decoded is the line that was logged."""
    return _RECORD.fullmatch(line) is not None


def has_payload(line: str) -> bool:
    """Whether an escape sequence of the line carries text, such as the address of a link, which no other view shows."""
    return _PAYLOAD.search(line) is not None


class _Layers(View):
    """A view of a view."""

    __slots__ = ("_layers",)

    def __init__(self, line: str, layers: list[View]) -> None:
        super().__init__(line, layers[-1].text, [])
        self._layers = layers

    def restore(self, redacted: str) -> str:
        for layer in reversed(self._layers):
            redacted = layer.restore(redacted)
        return redacted


def _view(line: str, pattern: re.Pattern[str], replacement: Callable[[re.Match[str]], str]) -> View:
    pieces: list[str] = []
    edits: list[_Edit] = []
    done = length = 0
    for match in pattern.finditer(line):
        start, end = match.span()
        new = replacement(match)
        length += start - done
        edits.append(_Edit(start, end, length, length + len(new)))
        pieces += (line[done:start], new)
        length += len(new)
        done = end
    return View(line, "".join([*pieces, line[done:]]), edits)


def _without(line: str, *spans: tuple[int, int]) -> View:
    """The view without some stretches."""
    edits: list[_Edit] = []
    pieces: list[str] = []
    done = length = 0
    for start, end in spans:
        length += start - done
        edits.append(_Edit(start, end, length, length))
        pieces.append(line[done:start])
        done = end
    return View(line, "".join([*pieces, line[done:]]), edits)


def _plain(match: re.Match[str]) -> str:
    if match["overprinted"]:
        return match[0][-1]  # the bold type of manual pages
    if match["json"]:
        return match[0][-1] if match[0][-1] == "/" else chr(int(match[0][-2:], 16))
    if match["entity"] or match["percent"]:
        # Where the same sign stands in clear as well, the escaped one is a part of what the clear ones delimit.
        sign = _decoded(match)
        is_part = not sign.isalnum() and sign in match.string
        if not is_part and sign != "\n":
            return _PLAIN.sub(_plain, sign) if not sign.isascii() else sign
        return match[0] if match["entity"] else "%"
    return " " if match["blank"] else _ASCII_OF.get(match[0], "")


def _decoded_or_quote(match: re.Match[str], ends: Collection[int]) -> str:
    if match[0] == '"':
        return "\n" if match.start() in ends else '"'
    return _decoded(match)


def _decoded(match: re.Match[str]) -> str:
    """The character that an escape stands for; a line end for both of its characters."""
    text = match[0]
    if text[0] == "%":
        # Of the digits after each percent sign, those of escaped percent signs come first.
        sign = bytes(int(part[-2:], 16) for part in text.split("%")[1:]).decode(errors="replace")
    elif text[0] == "&":
        name = text[1:-1].rpartition(";")[2]
        sign = _ENTITIES.get(name) or chr(int(name[2:], 16) if name[1] in "xX" else int(name[1:]))
    elif text[1] in "ux":
        sign = chr(int(text[2:], 16))
    else:
        sign = _LETTERS.get(text[1], text[1])
    return "\n" if sign in "\r\n" else sign


def _replaced(text: str, redacted: str) -> list[tuple[int, int, str]] | None:
    """Which stretches of a text (start, end, marker) were replaced in its redacted form; None if it is not one.

    What stands between markers occurs in the text in the same order, so each piece is looked for behind the one before. A
    marker that is in the text as well is taken for itself first. Where that leaves more than one way, all of them remove the
    same text; they differ in which of the escape sequences around it stay.
    """
    pieces = _MARKER.split(redacted)
    for itself in (True, False):
        spans = _aligned(text, pieces, itself=itself)
        if spans is not None:
            return spans
    return None


def _aligned(text: str, pieces: list[str], *, itself: bool) -> list[tuple[int, int, str]] | None:
    if not text.startswith(pieces[0]):
        return None
    spans: list[tuple[int, int, str]] = []
    position = len(pieces[0])
    for number in range(1, len(pieces), 2):
        marker, literal = pieces[number], pieces[number + 1]
        if itself and text.startswith(marker + literal, position):
            position += len(marker) + len(literal)
            continue
        last = number + 2 == len(pieces)
        if last:
            start = len(text) - len(literal)
            if start <= position or not text.endswith(literal):
                return None
        else:
            start = text.find(literal, position + 1)
            if start < 0:
                return None
        spans.append((position, start, marker))
        position = start + len(literal)
    return spans if position == len(text) else None
