"""An XML file in any encoding in; the same file in UTF-8, without characters that XML forbids, out.

Parsers of the standard library know few encodings, and reject a whole file for one control character, which test harnesses
write into messages as it came from a terminal. The shipper and the product have this file in common, byte for byte.
"""

import codecs
import re

__all__ = ["readable"]

_BEGINNINGS = (  # byte order marks, and the first character "<" without one
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (b"<\0\0\0", "utf-32-le"),
    (b"\0\0\0<", "utf-32-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)
_DECLARATION = re.compile(r"\s*<\?xml\s[^>]*\?>")
_DECLARED = re.compile(rb"\s*<\?xml\s[^>]*?\bencoding\s*=\s*[\"']([^\"'>]*)[\"']")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCE = re.compile(r"<!\[CDATA\[.*?\]\]>|&#(x[0-9a-fA-F]{1,8}|[0-9]{1,8});", re.DOTALL)


def readable(data: bytes) -> tuple[bytes, int]:
    r"""The file in UTF-8, and how many characters or invalid bytes were replaced, by `\x1b` and the like or U+FFFD.

    Raises:
        ValueError: The file declares an encoding that is not known; the message begins with the verb.

    >>> readable('<?xml version="1.0" encoding="GBK"?><a b="\u5931\u8d25">\x1b[0m</a>'.encode("gbk"))[0].decode()
    '<?xml version="1.0"?><a b="失败">\\x1b[0m</a>'
    """
    encoding = _encoding(data)
    invalid = 0
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode(encoding, "replace")
        invalid = text.count("\ufffd")
    text = text.removeprefix("\ufeff")
    text, controls = _FORBIDDEN.subn(lambda match: _shown(ord(match[0])), text)
    text, references = _without_forbidden_references(text)
    text = _DECLARATION.sub('<?xml version="1.0"?>', text, count=1) if _DECLARATION.match(text) else text.lstrip()
    return text.encode(), invalid + controls + references


def _encoding(data: bytes) -> str:
    for beginning, encoding in _BEGINNINGS:
        if data.startswith(beginning):
            return encoding
    declared = _DECLARED.match(data)
    if not declared:
        return "utf-8"
    name = declared[1].decode("latin-1")
    try:
        encoding = codecs.lookup(name).name
        b"1234".decode(encoding, "replace")
    except (LookupError, ValueError):  # not known, or known and not an encoding of text
        raise ValueError(f"declares the encoding {name[:40]!r}, which is not known; save it in UTF-8") from None
    # The declaration could be read byte by byte, so it is wrong: some tools declare what their strings are in memory.
    return "utf-8" if encoding.startswith(("utf-16", "utf-32")) else encoding


def _without_forbidden_references(text: str) -> tuple[str, int]:
    replaced = 0

    def visible(match: re.Match[str]) -> str:
        nonlocal replaced
        number = match[1]
        if number is None:  # within CDATA, a reference is text
            return match[0]
        code = int(number[1:], 16) if number.startswith("x") else int(number)
        if code <= 0x10FFFF and not _FORBIDDEN.match(chr(code)):
            return match[0]
        replaced += 1
        return _shown(code)

    return _REFERENCE.sub(visible, text), replaced


def _shown(code: int) -> str:
    return f"\\x{code:02x}"
