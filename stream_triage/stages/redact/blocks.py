"""Lines in, the same lines without secrets that go over several lines out: private keys, and hex dumps below a key's name.

Unlike the rules of the table these need a state, which a source keeps from batch to batch. It is small, and a block without
an end is given up after a limit, so that a truncated key does not swallow the log that follows it.
"""

import re
from collections.abc import Iterator
from typing import Final

from stream_triage.stages.redact.context import ContextState
from stream_triage.stages.redact.cryptographic_keys import HEX_WORDS, LENGTH
from stream_triage.stages.redact.rule import line_numbers
from stream_triage.stages.redact.triggers import lower

__all__ = ["RedactionState", "redact_blocks"]

# Private keys of PEM, OpenSSH, PGP and SSH2. The label between the dashes says which; certificates and public keys stay.
_PEM_LABEL = r"(?:[A-Z0-9]{1,12}[ ]){0,4}PRIVATE KEY(?: BLOCK)?"
_PEM_BEGIN = re.compile(rf"-{{4,5}} ?BEGIN {_PEM_LABEL} ?-{{4,5}}")
_BEGINS = re.compile("private key|private-lines: ")
_PEM_END = re.compile(rf"-{{4,5}} ?END {_PEM_LABEL} ?-{{4,5}}")
# What may follow BEGIN on the same line: the key with literal \n, or with spaces for line ends.
_PEM_INLINE = re.compile(
    r"(?:(?:\\{1,4}[nrt]|[ \t])*+(?:(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset): [^\\\n]{0,256}(?=\\)"
    r"|[A-Za-z0-9+/=]{16,}+))*+(?:\\{1,4}[nr][A-Za-z0-9+/=]{1,15}+)?(?:\\{1,4}[nr])*+"
)
# PuTTY says how many lines follow.
_PUTTY = re.compile(r"Private-Lines: (?P<n>[0-9]{1,3})(?![0-9])")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}|=[A-Za-z0-9+/]{4}")
_NOT_HEX = re.compile(r"[g-zG-Z+/]")
# Bytes below the name of a key: at the end of the line, after whatever log prefix; an offset before them is replaced too.
_DUMP_BYTES = "|".join(
    rf"(?:0x)?[0-9a-f]{digits}(?:{between}(?:0x)?[0-9a-f]{digits}){{{least},63}}"
    for digits, least in (("{2}", 7), ("{1,2}", 13))
    for between in (r"[ \t]{1,3}(?:-[ \t])?", "[:-]", r"[:,][ \t]?")
)
_HEX_DUMP = re.compile(
    rf"(?<![^\s\]|\"'=:(])(?<![0-9]:)(?:(?:0x)?[0-9a-f]{{2,8}}:?[ \t]{{1,4}})?"
    rf"(?:{_DUMP_BYTES}|{HEX_WORDS}|(?:0x)?[0-9a-f]{{32}}(?:[0-9a-f]{{32}})?)"
    r"(?:[ \t]{1,8}\|[^\n]{0,64}(?=\|))?(?=[ \t]{0,2}[\"'|,;]{0,3}(?:[ \t]{2,4}[!-~]{1,17})?[ \t]*\r?$)",
    re.IGNORECASE | re.ASCII,
)
# The name of a key at the end of a lower-case line: its bytes follow as a hex dump. All begin with k, which is found fast.
_TITLE_END = (
    rf"(?:[ ]?-?[ ]?(?:hex[ _]?)?dump)?{LENGTH}(?:[ ](?:=>[ ][0-9]{{1,3}}[ ]bytes[ ]@[ ]0x[0-9a-f]{{1,16}}|dump))?"
    r"[)\]]?[ \t]{0,4}[:=]?[ \t]{0,4}\r?$"
)
_DUMP_TITLE = re.compile(
    r"k(?:_?(?:asme|amf|ausf|seaf|[ge]nb|(?:nas|rrc|up)_?(?:enc|int))(?:['*]|[_ ]?star|[_ ]?key)?"
    r"|(?<![a-z0-9_.>-]k)(?:i|(?<![a-z0-9_.>][ ]k)(?:ey)?)|(?<=[ci]k)(?<![a-z0-9_.>-][ci]k)"
    rf"|(?<=[a-z0-9][ _-]k)ey){_TITLE_END}",
    re.MULTILINE | re.ASCII,
)
_NO_TITLE = re.compile(
    r"(?:public|cache|primary|foreign|row|host|object|sort|partition|routing|verify|verification)[ _-]?key[^\n]{0,40}\Z"
)
_DUMP_TITLE_OP = re.compile(rf"op(?<![a-z0-9_>-]op)_?c{_TITLE_END}", re.MULTILINE | re.ASCII)

# Lines that a private key may have; one of 16,384 bits has about 200.
_MOST_KEY_LINES: Final = 2_000
# Lines in a row inside an unfinished private key that are no part of it, before it counts as over.
_MOST_FOREIGN_LINES: Final = 8
# Lines of a hex dump below the name of a key: 64 bytes, 16 a line.
_MOST_DUMP_LINES: Final = 4
# A dump is searched in the last characters of a line alone, and log prefixes are compared by their last ones.
_MOST_DUMP: Final = 700
_MOST_PREFIX: Final = 200


class RedactionState:
    """What one source keeps between batches: replacements so far, and how far it is inside a private key or dump."""

    __slots__ = ("context", "counts", "dump_left", "foreign_lines", "key_lines", "last_line_seen", "prefix")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        """Replacements by kind."""
        self.context = ContextState()
        """The table that it is in, and what the last line announced."""
        self.key_lines = 0
        """Lines since BEGIN, including it; 0 outside a private key."""
        self.foreign_lines = 0
        """Lines in a row that are no part of the key."""
        self.prefix = ""
        """Shape of what stands before the key on its lines: time stamp, level."""
        self.last_line_seen = False
        """Whether a short line of the key came, which can only be its last one."""
        self.dump_left = 0
        """Lines of a hex dump that may still follow the name of a key."""

    @property
    def open(self) -> bool:
        """Whether the next line may be part of something that began earlier."""
        return self.key_lines > 0 or self.dump_left > 0

    def count(self, kind: str) -> None:
        """Counts one replacement."""
        self.counts[kind] = self.counts.get(kind, 0) + 1


def redact_blocks(text: str, low: str, state: RedactionState) -> str:
    """Replaces private keys, and dumps of keys, in lines joined by newlines; `low` is the text in lower case."""
    begins = [match.start() for match in _BEGINS.finditer(low)]
    titles = [match.start() for match in _DUMP_TITLE.finditer(low)]
    if "op" in low:
        titles += [match.start() for match in _DUMP_TITLE_OP.finditer(low)]
    if not (state.open or begins or titles):
        return text
    lines = text.split("\n")
    titled = set(line_numbers(low, titles))
    for number in _lines_to_read(sorted({*line_numbers(low, begins), *titled}), len(lines), state):
        line = _private_key(lines[number], state)
        lines[number] = _dump(line, state, titled=number in titled and _ends_with_key_name(lower(line)))
    return "\n".join(lines)


def _lines_to_read(opening: list[int], count: int, state: RedactionState) -> Iterator[int]:
    """The lines that may open something, and those behind them as long as something is open."""
    number = 0
    for first in [*opening, count]:
        while number < first and state.open:
            yield number
            number += 1
        if number <= first < count:
            yield first
            number = first + 1


def _private_key(line: str, state: RedactionState) -> str:
    if state.key_lines:
        return _inside_key(line, state)
    if putty := _PUTTY.search(line):
        state.key_lines, state.foreign_lines, state.last_line_seen = max(1, _MOST_KEY_LINES - int(putty["n"])), 0, False
        state.prefix = _shape(line[: putty.start()])
        return line
    return _outside_key(line, state) if "PRIVATE KEY" in line else line


def _dump(line: str, state: RedactionState, *, titled: bool) -> str:
    """Replaces bytes that belong to a key's name above, or notes that this line ends with such a name."""
    dump = _HEX_DUMP.search(line, max(0, len(line) - _MOST_DUMP)) if state.dump_left else None
    if dump is None:
        state.dump_left = _MOST_DUMP_LINES if titled else 0
        return line
    state.dump_left -= 1
    state.count("key")
    return line[: dump.start()] + "<key>" + line[dump.end() :]


def _ends_with_key_name(low: str) -> bool:
    """Whether a lower-case line, or one of several, ends with the name of a key whose bytes may follow."""
    return not _NO_TITLE.search(low) and bool(_DUMP_TITLE.search(low) or ("op" in low and _DUMP_TITLE_OP.search(low)))


def _shape(prefix: str) -> str:
    """What stands before the key on a line, with all digits equal, to be compared with the next line's."""
    return re.sub(r"[0-9]+", "0", prefix[-_MOST_PREFIX:])


def _outside_key(line: str, state: RedactionState) -> str:
    """A line outside a key: whole keys in it are replaced, and one that does not end in it opens the state."""
    pieces: list[str] = []
    done, last_end = 0, line.rfind("END ")
    while begin := _PEM_BEGIN.search(line, done):
        state.count("private-key")
        pieces += (line[done : begin.start()], "<private-key>")
        end = _PEM_END.search(line, begin.end()) if begin.end() < last_end else None
        if end is not None:
            done, state.key_lines = end.end(), 0
            continue
        inline = _PEM_INLINE.match(line, begin.end())
        last_end = 0  # no END follows on this line
        done = inline.end() if inline else begin.end()
        state.key_lines, state.foreign_lines, state.last_line_seen = 1, 0, False
        state.prefix = _shape(line[: begin.start()])
    return "".join([*pieces, line[done:]])


def _inside_key(line: str, state: RedactionState) -> str:
    """A line after BEGIN: its key material is replaced; a line without any stays."""
    begin, end = _PEM_BEGIN.search(line), _PEM_END.search(line)
    if begin is not None and (end is None or begin.start() < end.start()):
        return _outside_key(line, state)
    if end is not None:
        state.key_lines = 0
        state.count("private-key")
        return line[: _material_start(line[: end.start()])] + "<private-key>" + _outside_key(line[end.end() :], state)
    if state.key_lines >= _MOST_KEY_LINES:
        state.key_lines = 0
        return line
    state.key_lines += 1
    body = line.rstrip(" \t\r\"'`,;\\")
    if body.endswith(("\\n", "\\r")):
        body = body[:-2]
    start = _material_start(body)
    if _is_material(body, start, state):
        state.foreign_lines = 0
        state.prefix = _shape(line[:start])
        state.count("private-key")
        return line[:start] + "<private-key>" + line[len(body) :]
    state.foreign_lines += 1
    if state.foreign_lines >= _MOST_FOREIGN_LINES:
        state.key_lines = 0
    return line


def _material_start(body: str) -> int:
    """Where the last word of a line starts: key material contains none of these characters."""
    return max(body.rfind(sign) for sign in " \t\"'`|>:]") + 1


def _is_material(body: str, start: int, state: RedactionState) -> bool:
    """Whether the last word of a line is a line of a key."""
    word = body[start:]
    if not _BASE64.fullmatch(word):
        return False
    wide = len(word) >= 24
    if wide and not _NOT_HEX.search(word):
        return False  # a hash, not base64
    if len(word) >= 40:
        return True
    if start and _shape(body[:start]) != state.prefix:
        return False
    if wide:
        return True
    # Only the last line of a key is short; a PGP checksum may come after it.
    last_line = not state.last_line_seen
    state.last_line_seen = True
    return last_line or word.startswith("=")
