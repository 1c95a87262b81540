"""Any text in, text that is safe to show out: log lines and file names may contain terminal escapes."""

import re

__all__ = ["printable", "without_colours"]

# ECMA-48 control sequences (colours, cursor movements), and operating system commands such as titles and links.
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


def printable(text: str) -> str:
    r"""Returns the text with codes in place of what could move a cursor, change a colour or the writing direction.

    Tabs stay. Bytes of a file name that are not UTF-8, which Python keeps as lone surrogates, are shown as bytes.

    >>> printable("a\x1b[31mred\ttab\u202eover\n\udcff")
    'a\\x1b[31mred\ttab\\u202eover\\x0a\\xff'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else _escaped(c) for c in text)


def without_colours(text: str) -> str:
    r"""Returns a log line for people: without complete escape sequences, and what is left as `printable` shows it.

    Colours are no content, and their codes make a line hard to read. The stored line keeps them.

    >>> without_colours("\x1b[1;31mERROR\x1b[0m \x1b]8;;http://a\x1b\\link \x1b7 \x1b[3")
    'ERROR link \\x1b7 \\x1b[3'
    """
    return printable(_SEQUENCE.sub("", text) if "\x1b" in text else text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code <= 0xFF else character.encode("ascii", "backslashreplace").decode("ascii")
