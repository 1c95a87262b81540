"""Lines that are not UTF-8 in; the encoding that they are in out, if there is little doubt.

charset-normalizer proposes encodings, and a proposal counts only if the characters that it gives are the usual ones of its
language. Lines of damaged UTF-8 and noise on a serial line can be read in most encodings too, but as rare characters.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["MULTIBYTE", "detect", "fits", "is_promising"]


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
    "cp949": _Bytes(frozenset(range(0xB0, 0xC9)), frozenset((*range(0xA1, 0xA4), *range(0xA6, 0xAA), 0xAC)), 0xA1),
}
# Chinese characters can be read as Korean syllables, but not as these.
_COMMON_SYLLABLES: Final = frozenset(
    "이다는을의에가고를지한하로은기사시자도리어대인스해그서나아정보전수제부일성과동상주장여오구공소연조안원비결신치유"
    "업험종료패간생중단말작접요송등록호출선네트워크응답없음실설파온높버초"
)
_SYLLABLE_SHARE: Final = 0.25
# Alphabets of their own: the first and last letter.
_ALPHABETS: Final = {
    "cp1251": ("\u0400", "\u0451"),
    "koi8_r": ("\u0400", "\u0451"),
    "cp866": ("\u0400", "\u0451"),
    "cp1253": ("\u0370", "\u03ce"),
    "cp1255": ("\u0591", "\u05f4"),
    "cp1256": ("\u060c", "\u06d5"),
    "cp874": ("\u0e01", "\u0e5b"),
}
_LATIN: Final = ("cp1252", "cp850", "cp1254", "cp1250", "iso8859_2")
_WESTERN_ENCODINGS: Final = ("cp1252", "cp850")
_CANDIDATES: Final = (*MULTIBYTE, *_ALPHABETS, *_LATIN)
_WESTERN: Final = frozenset("àâäáãåæçéèêëíìîïñóòôöõøœúùûüßÀÄÁÅÆÇÉÈÊËÍÌÎÏÑÓÒÔÖÕØŒÚÙÛÜ")
_LETTERS: Final = {"cp1252": _WESTERN, "cp850": _WESTERN, "cp1254": frozenset("çğıöşüâîûÇĞİÖŞÜ")}
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
_DISTINCT_LATIN, _DISTINCT_ALPHABET = 30, 75
_FEW_BYTES: Final = 2
_WORD_CHARACTERS: Final = 20


def detect(lines: Sequence[bytes]) -> str | None:
    """The encoding of lines of which none is valid UTF-8; None if they are too few or too strange to tell."""
    sample = _sample(lines)
    high = len(_HIGH.findall(sample))
    if len(lines) < MIN_LINES or high < MIN_HIGH_BYTES or len(_CONTROL.findall(sample)) * 10 > high:
        return None
    return None if _is_damaged_utf8(sample) else _by_charset_normalizer(sample)


def is_promising(line: bytes) -> bool:
    """Whether a line that is not UTF-8 may be in another encoding, so that it is worth waiting for more such lines.

    It is not if only one or two bytes are invalid, and the others outside of ASCII are UTF-8.
    """
    odd, sequences = _UTF8_SEQUENCE.subn(b"", line)
    return not sequences or len(_HIGH.findall(odd)) > _FEW_BYTES


def _sample(lines: Sequence[bytes]) -> bytes:
    """The first lines that have at most `MAX_SAMPLE_BYTES` together; a part of the first line if it is longer."""
    kept, size = [lines[0][:MAX_SAMPLE_BYTES]] if lines else [], 0
    for line in lines:
        size += len(line)
        if size > MAX_SAMPLE_BYTES:
            break
        kept.append(line)
    return b"".join(kept[1:] or kept)


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
        if proposal.chaos > _MESS:
            continue
        # Encodings that decode the sample alike are one proposal. Latin encodings look alike to charset-normalizer, so all
        # of them are candidates then, the most widespread one first.
        names = {proposal.encoding, *proposal.could_be_from_charset}
        names |= set(_LATIN) if names.intersection(_LATIN) else set()
        for encoding in _CANDIDATES:
            if encoding in names and _is_confident(sample, encoding, proposal.coherence):
                return encoding
    return None


def _is_confident(sample: bytes, encoding: str, coherence: float) -> bool:
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    if _usual_share(sample, text, encoding) < _USUAL_SHARE:
        return False
    if encoding in MULTIBYTE:  # signs alone are what letters of other encodings look like
        characters = _TWO_BYTES.findall(sample)
        letters = sum(one[0] in MULTIBYTE[encoding].letters for one in characters)
        is_korean = sum(map(_COMMON_SYLLABLES.__contains__, text)) >= _SYLLABLE_SHARE * letters
        return letters >= _LETTER_SHARE * len(characters) and (encoding != "cp949" or is_korean)
    # A language has few letters that are not ASCII and repeats them. Noise repeats hardly any byte.
    high = _HIGH.findall(sample)
    few = len(set(high)) <= min(_DISTINCT_SHARE * len(high), _DISTINCT_LATIN if encoding in _LATIN else _DISTINCT_ALPHABET)
    return few and (encoding in _WESTERN_ENCODINGS or coherence >= _COHERENCE)


def _usual_share(data: bytes, text: str, encoding: str) -> float:
    """The share of the characters outside of ASCII that are usual ones of the languages written in this encoding."""
    if encoding in MULTIBYTE:
        known = MULTIBYTE[encoding]
        first = known.letters | known.signs
        characters: list[bytes] = _TWO_BYTES.findall(data)
        usual = [len(one) == 2 and one[0] in first and one[1] >= known.least for one in characters]
    elif encoding in _ALPHABETS:
        first_letter, last_letter = _ALPHABETS[encoding]
        usual = [first_letter <= one <= last_letter or one in _SIGNS for one in text if one >= "\x80"]
    else:
        letters = _LETTERS.get(encoding)
        usual = [_is_usual_latin(text, i, letters) for i, one in enumerate(text) if one >= "\x80"]
    return sum(usual) / max(len(usual), 1)


def _is_usual_latin(text: str, i: int, letters: frozenset[str] | None) -> bool:
    """Whether it is a letter in a word with ASCII letters, or a sign outside of a word."""
    character, before, after = text[i], text[i - 1 : i], text[i + 1 : i + 2]
    if character in _SIGNS:
        return not (before.isalpha() and after.isalpha()) or character == "’"
    if not character.isalpha() or character in _CAPITALS_OF_DAMAGE or (letters and character not in letters):
        return False
    start, end = (
        _WORD_BEFORE.search(text[max(i - _WORD_CHARACTERS, 0) : i]),
        _WORD_AFTER.match(text[i : i + _WORD_CHARACTERS]),
    )
    word = (start[0] if start else "") + (end[0] if end else "")
    return sum(letter < "\x80" for letter in word) * 3 >= len(word) or word in _WORDS_OF_ONE_LETTER
