"""Any text in, text that is safe to show out: log lines and file names may contain terminal escapes."""

__all__ = ["printable"]


def printable(text: str) -> str:
    r"""Returns the text with codes in place of what could move a cursor, change a colour or the writing direction.

    Tabs stay. Bytes of a file name that are not UTF-8, which Python keeps as lone surrogates, are shown as bytes.

    >>> printable("a\x1b[31mred\ttab\u202eover\n\udcff")
    'a\\x1b[31mred\ttab\\u202eover\\x0a\\xff'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code <= 0xFF else character.encode("ascii", "backslashreplace").decode("ascii")
