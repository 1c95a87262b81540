"""Rules for keys whose name stands further away on the line, before other words or behind the value."""

import re
from typing import Final

from stream_triage.stages.redact.cryptographic_keys import HEX_WORDS
from stream_triage.stages.redact.names import is_key_name, is_key_near
from stream_triage.stages.redact.rule import RedactionRule, Trigger, triggers

__all__ = ["DISTANT_KEY_RULES"]

_TAIL: Final = 96
_LENGTHS: Final = (32, 48, 64, 96, 128)
_SEPARATOR = r"(?:[ \t]{1,2}|[:._-]|,[ \t]{0,2}|\\x)"
_VALUE = (
    r"(?<![0-9a-z+/])(?<![0-9a-z][_-])(?P<v>(?:0x|\\x)?[0-9a-f]{32,128}(?![0-9a-z])"
    rf"|(?:0x|\\x)?[0-9a-f]{{2}}(?:{_SEPARATOR}(?:0x)?[0-9a-f]{{2}}(?![0-9a-z])){{15,63}}"
    rf"|{HEX_WORDS}(?![0-9a-z])|0x[0-9a-f]{{8}}(?:,?[ ]?0x[0-9a-f]{{8}}){{3,7}}(?![0-9a-z]))"
)
# Without one of these in its neighbourhood no value is a key; most lines of hex digits end here.
_HINT: Final = re.compile(
    r"key|secret|psk|pmk|[pg]tk|msk|opc|opv|milenage|(?<![a-z0-9])(?:op|top|[ci]k|nh|[dkt]ek|sk_?[a-z]{0,2}|k[a-z0-9_]{0,12})(?![a-z])",
    re.IGNORECASE | re.ASCII,
)
_BEHIND: Final = re.compile(
    r"[\"'\])]{0,2}[ \t]{0,4}(?:\(|#|//|<-|->|=>|is[ ](?:the|my|our)|as|for|>|\|[^\n|>]{1,40}>)[ \t]{0,4}(?:the[ ])?"
    r"(?P<n>[A-Za-z][A-Za-z0-9_ -]{0,24}[A-Za-z0-9]|[A-Za-z])(?![A-Za-z0-9])"
)


def _is_near(match: re.Match[str]) -> bool:
    """Whether the name of a key is among the words before the value, or directly behind it."""
    value, start, end = match["v"].lower(), match.start("v"), match.end("v")
    if value.isalnum() and len(value.removeprefix("0x")) not in _LENGTHS:
        return False
    tail = match.string[max(0, start - _TAIL) : start].rpartition("\n")[2]
    if not _HINT.search(tail) and not _HINT.search(match.string, end, end + 40):
        return False
    if is_key_name(tail) or is_key_near(tail):
        return True
    behind = _BEHIND.match(match.string, end, end + 80)
    return behind is not None and not re.search(r"[=:]['\"]?\Z", tail) and is_key_near(behind["n"] + " ")


DISTANT_KEY_RULES: Final = (
    RedactionRule(
        "key-near",
        "key",
        (
            Trigger("", r"[0-9a-f]{28}", "run"),
            Trigger("", "", "bytes"),
            Trigger("", r"[0-9a-f]{4}(?:[ _-][0-9a-f]{4}){7}", "quads"),
            Trigger("", r"[0-9a-f]{8}(?:[ _-][0-9a-f]{8}){3}", "words"),
            Trigger("", "", "0x-bytes"),
            Trigger("", "", "0x-words"),
        ),
        _VALUE,
        "16 bytes and more on a line that speaks of a key, unless a closer word says what else they are",
        (
            ("Key for NAS ciphering ..... 00112233445566778899aabbccddeeff", "Key for NAS ciphering ..... <key>"),
            ("KIc (3DES) 00112233445566778899aabbccddeeff0011223344556677", "KIc (3DES) <key>"),
            ("00112233445566778899aabbccddeeff # opc of ue1", "<key> # opc of ue1"),
            ("cache key, layer 00112233445566778899aabbccddeeff", "cache key, layer 00112233445566778899aabbccddeeff"),
        ),
        accept=_is_near,
    ),
    RedactionRule(
        "key-near-base64",
        "key",
        (
            *triggers("key", "psk", "secret", "opc", rest=r"[^\n]{0,32}[a-z0-9+/]{22}"),
            Trigger("ki (", r"[^\n]{0,16}[a-z0-9+/]{22}"),
        ),
        r"(?<![0-9a-z+/])(?P<v>[a-z0-9+/]{22}==|[a-z0-9+/]{42}[a-z0-9+/=]=)(?![a-z0-9+/=])",
        "16 or 32 bytes in base64 on a line that speaks of a key",
        (
            (
                "wg set wg0 private-key <(echo ABEiM0RVZneImaq7zN3u/xEiM0RVZneImaq7zN3u/wA=)",
                "wg set wg0 private-key <(echo <key>)",
            ),
        ),
        accept=_is_near,
    ),
    RedactionRule(
        "key-decimal-near",
        "key",
        triggers(
            "kausf",
            "kamf",
            "kseaf",
            "kgnb",
            "kenb",
            "kasme",
            "kakma",
            "knas",
            "krrc",
            "kup",
            "opc",
            "key",
            "msk",
            "secret",
            rest=r"[a-z0-9_'*]{0,8}[^\na-z0-9]{0,8}[\[{(][ ]?[0-9]{1,3}(?:,[ ]?|[ ])[0-9]{1,3}",
        ),
        r"(?<=[\[{(])[ ]?(?P<v>[0-9]{1,3}(?:(?:,[ ]?|[ ])[0-9]{1,3}){15,63})(?=[ ]?[\]})])",
        "bytes as decimal numbers, as Go and Python print them",
        (
            (
                "Kausf: [0 17 34 51 68 85 102 119 136 153 170 187 204 221 238 255]",
                "Kausf: [<key>]",
            ),
        ),
        accept=_is_near,
    ),
    RedactionRule(
        "key-bits",
        "key",
        (Trigger("key", r"[^\n]{0,16}[01]{128}"),),
        r"key[^\n]{0,16}?(?<![0-9a-z])(?P<v>[01]{128,512})(?![0-9a-z])",
        "a key as a string of bits",
        (("securityKey : '" + "01" * 64 + "'B", "securityKey : '<key>'B"),),
    ),
    RedactionRule(
        "key-jwk",
        "key",
        tuple(Trigger(f'"{name}') for name in ("k", "d", "p", "q")),
        r"\"(?:k|d|p|q|dp|dq|qi)\"[ ]?:[ ]?\"(?P<v>[a-z0-9_-]{42,1024})\"",
        "the secret members of a JSON web key (RFC 7518, clause 6)",
        (('{"kty":"oct","k":"' + "aB3" * 14 + 'c"}', '{"kty":"oct","k":"<key>"}'),),
    ),
)
