"""Lines that are not UTF-8 in; the encoding that they are in out, if there is little doubt.

charset-normalizer proposes encodings, and a proposal counts only if the characters that it gives are the usual ones of its
language. Lines of damaged UTF-8 and noise on a serial line can be read in most encodings too, but as rare characters.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["MULTIBYTE", "detect", "fits"]


class _Bytes(NamedTuple):
    """The first bytes of usual characters of two bytes, and the lowest second byte."""

    letters: frozenset[int]
    signs: frozenset[int]
    least: int


# The usual characters are level 1 of the standards. The Chinese and Korean standards have kana too, the Chinese one at the
# same place as the Japanese one, but they stand in Japanese text.
MULTIBYTE: Final = {
    "gb18030": _Bytes(frozenset(range(0xB0, 0xD8)), frozenset((*range(0xA1, 0xA4), *range(0xA6, 0xAA))), 0xA1),
    "big5": _Bytes(frozenset(range(0xA4, 0xC7)), frozenset(range(0xA1, 0xA4)), 0x40),
    "cp932": _Bytes(frozenset((0x82, 0x83, *range(0x88, 0x99))), frozenset((0x81,)), 0x40),
    "euc_jp": _Bytes(frozenset((0xA4, 0xA5, *range(0xB0, 0xD0))), frozenset(range(0xA1, 0xA4)), 0xA1),
    "cp949": _Bytes(frozenset(range(0xB0, 0xC9)), frozenset((*range(0xA1, 0xAA), 0xAC)), 0xA1),
}
# Alphabets of their own: the first and last letter.
_ALPHABETS: Final = {
    "cp1251": "Ѐё",
    "koi8_r": "Ѐё",
    "cp866": "Ѐё",
    "cp1253": "Ͱώ",
    "cp1255": "֑״",
    "cp1256": "،ە",
    "cp874": "ก๛",
}
_LATIN: Final = ("cp1252", "cp1250", "iso8859_2", "cp1254", "cp850")
_CANDIDATES: Final = (*MULTIBYTE, *_ALPHABETS, *_LATIN)
_WESTERN: Final = frozenset("àâäáãåæçéèêëíìîïñóòôöõøœúùûüßÀÄÁÅÆÇÉÈÊËÍÌÎÏÑÓÒÔÖÕØŒÚÙÛÜ")
# Signs that stand in logs: degrees, micro, quotation marks, dashes and the like. None of them but ’ stands within a word.
_SIGNS: Final = frozenset("°µ±§·«»–—‘’‚“”„…•€£×÷²³¹¼½¾©®™¡¿ªº´¨№\xa0")
_WORDS_OF_ONE_LETTER: Final = frozenset("àÀéÉèóÓåÅöÖäüíúáıø")
_CAPITALS_OF_DAMAGE: Final = frozenset("ÂÃ")  # first bytes of UTF-8 sequences

_TWO_BYTES: Final = re.compile(rb"[\x80-\xff][\x30-\xff]?")
_HIGH: Final = re.compile(rb"[\x80-\xff]")
_UTF8_SEQUENCE: Final = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_CONTROL: Final = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")
_WORD_BEFORE: Final = re.compile(r"\w*\Z")
_WORD_AFTER: Final = re.compile(r"\w*")

MIN_LINES: Final = 2
MIN_HIGH_BYTES: Final = 6
MAX_SAMPLE_BYTES: Final = 8192
_MESS: Final = 0.1
_COHERENCE: Final = 0.3
_USUAL_SHARE: Final = 0.85
_LETTER_SHARE: Final = 0.5
_FITTING_SHARE: Final = 0.5
_DISTINCT_SHARE: Final = 0.67
_WORD_CHARACTERS: Final = 20


def detect(lines: Sequence[bytes]) -> str | None:
    """The encoding of lines of which none is valid UTF-8; None if they are too few or too strange to tell."""
    sample = b"\n".join(lines)[:MAX_SAMPLE_BYTES]
    high = len(_HIGH.findall(sample))
    if len(lines) < MIN_LINES or high < MIN_HIGH_BYTES or len(_CONTROL.findall(sample)) * 10 > high:
        return None
    return None if _is_damaged_utf8(sample) else _by_charset_normalizer(sample)


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

    for proposal in from_bytes(sample, cp_isolation=list(_CANDIDATES), enable_fallback=False):
        # Encodings that decode the sample alike are one proposal. The first candidate among them is named.
        names = {proposal.encoding, *proposal.could_be_from_charset}
        for encoding in _CANDIDATES:
            if encoding in names and _is_confident(sample, encoding, proposal.chaos, proposal.coherence):
                return encoding
    return None


def _is_confident(sample: bytes, encoding: str, mess: float, coherence: float) -> bool:
    text = sample.decode(encoding, "ignore")  # the sample may end within a character
    if mess > _MESS or _usual_share(sample, text, encoding) < _USUAL_SHARE:
        return False
    if encoding in MULTIBYTE:  # signs alone are what letters of other encodings look like
        characters = _TWO_BYTES.findall(sample)
        letters = sum(one[0] in MULTIBYTE[encoding].letters for one in characters)
        return letters >= _LETTER_SHARE * len(characters)
    # A language has few letters that are not ASCII and repeats them. Noise repeats hardly any byte.
    high = _HIGH.findall(sample)
    return len(set(high)) <= _DISTINCT_SHARE * len(high) and (encoding in ("cp1252", "cp850") or coherence >= _COHERENCE)


def _usual_share(data: bytes, text: str, encoding: str) -> float:
    """The share of the characters outside of ASCII that are usual ones of the languages written in this encoding."""
    if encoding in MULTIBYTE:
        known = MULTIBYTE[encoding]
        first = known.letters | known.signs
        characters = _TWO_BYTES.findall(data)
        usual = sum(len(one) == 2 and one[0] in first and one[1] >= known.least for one in characters)
        return usual / max(len(characters), 1)
    others = [i for i, character in enumerate(text) if character >= "\x80"]
    if encoding in _ALPHABETS:
        first_letter, last_letter = _ALPHABETS[encoding]
        usual = sum(first_letter <= text[i] <= last_letter or text[i] in _SIGNS for i in others)
    else:
        usual = sum(_is_usual_latin(text, i, western=encoding in ("cp1252", "cp850")) for i in others)
    return usual / max(len(others), 1)


def _is_usual_latin(text: str, i: int, *, western: bool) -> bool:
    """Whether it is a letter in a word with ASCII letters, or a sign outside of a word."""
    character, before, after = text[i], text[i - 1 : i], text[i + 1 : i + 2]
    if character in _SIGNS:
        return not (before.isalpha() and after.isalpha()) or character == "’"
    if not character.isalpha() or character in _CAPITALS_OF_DAMAGE or (western and character not in _WESTERN):
        return False
    start, end = (
        _WORD_BEFORE.search(text[max(i - _WORD_CHARACTERS, 0) : i]),
        _WORD_AFTER.match(text[i : i + _WORD_CHARACTERS]),
    )
    word = (start[0] if start else "") + (end[0] if end else "")
    return sum(letter < "\x80" for letter in word) * 3 >= len(word) or word in _WORDS_OF_ONE_LETTER
