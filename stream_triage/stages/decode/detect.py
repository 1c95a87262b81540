"""Lines that are not UTF-8 in; the encoding that they are in out, if there is little doubt.

charset-normalizer proposes encodings, and a proposal counts only if the characters that it gives are the usual ones of its
language. Lines of damaged UTF-8 and noise on a serial line can be read in most encodings too, but as rare characters.
"""

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["MULTIBYTE", "detect", "fits"]

# First bytes of signs and of the usual characters: level 1 of the standards. The Chinese and Korean standards have kana too,
# the Chinese one at the same place as the Japanese one, but they stand in Japanese text.
MULTIBYTE: Final = {
    "gb18030": frozenset((*range(0xA1, 0xA4), *range(0xA6, 0xAA), *range(0xB0, 0xD8))),
    "big5": frozenset((*range(0xA1, 0xA4), *range(0xA4, 0xC7))),
    "cp932": frozenset((*range(0x81, 0x85), *range(0x88, 0x99))),
    "euc_jp": frozenset((*range(0xA1, 0xA9), *range(0xB0, 0xD0))),
    "cp949": frozenset((*range(0xA1, 0xAA), 0xAC, *range(0xB0, 0xC9))),
}
_CYRILLIC: Final = ("cp1251", "koi8_r", "cp866")
_LATIN: Final = ("cp1252", "cp1250", "iso8859_2")
_CHARACTERS: Final = {"euc_jp": re.compile(rb"\x8f?[\x80-\xff][\x80-\xff]?")}
_CHARACTER: Final = re.compile(rb"[\x80-\xff][\x30-\xff]?")
_HIGH: Final = re.compile(rb"[\x80-\xff]")
_UTF8_SEQUENCE: Final = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_CONTROL: Final = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")
# Signs that stand in Western logs: degrees, micro, quotation marks, dashes and the like. None of them stands within a word.
_SIGNS: Final = frozenset("°µ±§·«»–—‘’‚“”„…•€£×÷²³¹¼½¾©®™¡¿ªº´¨\xa0")
_CAPITALS_OF_DAMAGE: Final = frozenset("ÂÃ")  # first bytes of UTF-8 sequences
MIN_LINES: Final = 2
MIN_HIGH_BYTES: Final = 6
MAX_SAMPLE_BYTES: Final = 8192
_MESS: Final = 0.1
_USUAL_SHARE: Final = 0.85
_FITTING_SHARE: Final = 0.5
_COHERENCE: Final = 0.3
_DISTINCT_SHARE: Final = 0.67


def detect(lines: Sequence[bytes]) -> str | None:
    """The encoding of lines of which none is valid UTF-8; None if they are too few or too strange to tell."""
    sample = b"\n".join(lines)[:MAX_SAMPLE_BYTES]
    high = len(_HIGH.findall(sample))
    if len(lines) < MIN_LINES or high < MIN_HIGH_BYTES or len(_CONTROL.findall(sample)) * 10 > high:
        return None
    if _is_damaged_utf8(sample):
        return None
    return _by_charset_normalizer(sample)


def fits(line: bytes, encoding: str) -> str | None:
    """The line in a detected encoding; None if it cannot be, or hardly is, in that encoding."""
    try:
        text = line.decode(encoding)
    except UnicodeDecodeError:
        return None
    return text if _usual_share(line, text, encoding) >= _FITTING_SHARE else None


def _is_damaged_utf8(sample: bytes) -> bool:
    """Whether valid sequences outweigh invalid ones. In other encodings, valid ones of two bytes occur by chance."""
    lengths = [len(sequence) for sequence in _UTF8_SEQUENCE.findall(sample)]
    invalid = sample.decode(errors="replace").count("\ufffd") - sample.count(b"\xef\xbf\xbd")
    return sum(1 if length == 2 else 3 for length in lengths) >= invalid


def _by_charset_normalizer(sample: bytes) -> str | None:
    from charset_normalizer import from_bytes

    proposals = from_bytes(sample, cp_isolation=[*MULTIBYTE, *_CYRILLIC, *_LATIN], enable_fallback=False)
    for proposal in proposals:
        # Encodings that decode the sample alike are one proposal. The most widespread one is named.
        names = {proposal.encoding, *proposal.could_be_from_charset}
        for encoding in (*MULTIBYTE, *_CYRILLIC, *_LATIN):
            if encoding in names and _is_confident(sample, encoding, proposal.chaos, proposal.coherence):
                return encoding
    return None


def _is_confident(sample: bytes, encoding: str, mess: float, coherence: float) -> bool:
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError:  # the sample may end within a character
        text = sample.decode(encoding, "ignore")
    if mess > _MESS or _usual_share(sample, text, encoding) < _USUAL_SHARE:
        return False
    if encoding in MULTIBYTE:
        return True
    # A language has few letters that are not ASCII and repeats them. Noise repeats hardly any byte.
    high = _HIGH.findall(sample)
    return len(set(high)) <= _DISTINCT_SHARE * len(high) and (encoding == "cp1252" or coherence >= _COHERENCE)


def _usual_share(data: bytes, text: str, encoding: str) -> float:
    """The share of the characters outside of ASCII that are usual ones of the languages written in this encoding."""
    if encoding in MULTIBYTE:
        characters = _CHARACTERS.get(encoding, _CHARACTER).findall(data)
        least = 0x40 if encoding in ("big5", "cp932") else 0xA1
        usual = sum(len(one) == 2 and one[0] in MULTIBYTE[encoding] and one[1] >= least for one in characters)
        return usual / max(len(characters), 1)
    others = [i for i, character in enumerate(text) if character >= "\x80"]
    if encoding in _CYRILLIC:
        usual = sum("\u0400" <= text[i] <= "\u0451" or text[i] in _SIGNS or text[i] == "№" for i in others)
    else:
        usual = sum(_is_usual_latin(text, i) for i in others)
    return usual / max(len(others), 1)


def _is_usual_latin(text: str, i: int) -> bool:
    """Whether it is a letter in a word of mostly ASCII letters, or a sign outside of a word."""
    character, before, after = text[i], text[i - 1 : i], text[i + 1 : i + 2]
    if character in _SIGNS:
        return not (before.isalpha() and after.isalpha()) or character == "’"
    if not character.isalpha() or character in _CAPITALS_OF_DAMAGE:
        return False
    word = re.search(r"\w*$", text[max(i - 20, 0) : i])[0] + re.match(r"\w*", text[i : i + 20])[0]  # type: ignore[index]
    return sum(letter < "\x80" for letter in word) * 2 >= len(word)
