"""Rules for cryptographic keys of subscribers and connections, printed as hex digits behind their name or beside an IMSI."""

import re
from typing import Final

from stream_triage.stages.redact.names import is_key_name, is_other_hex
from stream_triage.stages.redact.rule import RedactionRule, Trigger

__all__ = ["HEX_WORDS", "KEY_RULES", "LENGTH"]

# Hex digits as logs print them: in one run, in words of 8 or 4, or byte by byte, each byte with or without 0x.
_HEX_END = r"(?![0-9a-z])"
_HEX_BYTES = r"(?:0x)?[0-9a-f]{1,2}(?:(?:[ \t]{1,2}|[:,-][ \t]?)(?:0x)?[0-9a-f]{1,2}(?![0-9a-z])){7,63}"
HEX_WORDS = r"(?:0x)?(?:[0-9a-f]{8}(?:[ _-](?:0x)?[0-9a-f]{8}){3,7}|[0-9a-f]{4}(?:[ _-][0-9a-f]{4}){7,15})"
_KEY_GAP = r"[ \t\"'\\:=\[(){<>|,*-]{1,12}+"
# The length that some programs print between name and value: `(32)`, `[32 bytes]`, `len=32`; a bare number may be a byte.
_SIZE = r"(?:(?:len|length|size)[ \t]?[=:]?[ \t]?)?[0-9]{1,3}"
_UNIT = r"[ \t-]?(?:byte|bit|octet)s?"
LENGTH = (
    rf"(?:[ \t,]{{0,2}}(?:[(\[]{_SIZE}(?:{_UNIT})?[)\]]|(?:(?:len|length|size)[ \t]?[=:]?[ \t]?)[0-9]{{1,3}}(?:{_UNIT})?"
    rf"(?![0-9a-z])|[0-9]{{1,3}}{_UNIT}(?![0-9a-z])))?"
)
_KEY_NAME = (
    r"(?:(?<![a-z0-9])kc(?:128)?|k_?(?:asme|amf|ausf|seaf|akma|n3iwf|wagf|[ge]nb|(?:nas|rrc|up|rc|fc)_?(?:enc|int|prf)|aut|encr)"
    r"(?:['*]|[_ ]?star|[_ ]?key)?|xres\*?)"
)
_KEY_TRIGGERS = (
    *(
        Trigger(f"k{between}{name}")
        for between in ("", "_")
        for name in [
            "asme",
            "amf",
            "ausf",
            "seaf",
            "akma",
            "n3iw",
            "wagf",
            "gnb",
            "enb",
            "nas",
            "rrc",
            "upe",
            "up_",
            "upi",
            "upp",
            "rcp",
            "rc_",
            "rce",
            "rci",
            "fcp",
            "fc_",
            "fce",
            "fci",
            "aut",
            "encr",
        ]
    ),
    Trigger("xres"),
    Trigger("kc", r"[^a-z]"),
)

_FOUR_WORDS = r"[0-9a-f]{8}(?:[ _-][0-9a-f]{8}){3}(?![ _-]?[0-9a-z])"
_LONG_HEX = Trigger("", r"[0-9a-f]{28}", "run")
_BYTES_HEX = (
    Trigger("", "", "bytes"),
    Trigger("", "", "0x-bytes"),
)
# 16 bytes or more in hex, in one run or byte by byte.
_SEPARATED = r"(?:[ \t]{1,2}|[:._-]|,[ \t]{0,2}|\\x)"
_LONG_VALUE = (
    r"(?<![0-9a-z+/])(?<![0-9a-z][_-])(?:(?P<v>(?:0x|\\x)?(?:[0-9a-f]{32,128}(?![0-9a-z]))"
    rf"|(?:0x|\\x)?[0-9a-f]{{2}}(?:{_SEPARATED}(?:0x)?[0-9a-f]{{2}}(?![0-9a-z])){{15,63}}"
    r"))"
)
_DIGITS: Final = (32, 48, 64, 96, 128)
_TAIL: Final = 96


def _is_named(match: re.Match[str]) -> bool:
    """Whether the name before a value is that of a key."""
    value, start = match["v"].lower(), match.start("v")
    if value.isalnum() and len(value.removeprefix("0x")) not in _DIGITS:
        return False
    return is_key_name(match.string[max(0, start - _TAIL) : start].rpartition("\n")[2])


def _line_of(match: re.Match[str]) -> str:
    start = match.string.rfind("\n", 0, match.start()) + 1
    end = match.string.find("\n", match.end())
    return match.string[start : end if end >= 0 else None]


_ALGORITHM: Final = re.compile(
    r"(?:(?:^|[^a-z])(?:cbc|gcm|ctr|ccm|aes|des|3des|des3|camellia|chacha20|rfc4106|rfc3686|xcbc|cmac|ea|e"
    r"|null)[a-z0-9_()-]{0,24}[\"' ,]{0,4}"
    r"(?:\[[a-z0-9 ]{1,16}\][\"' ,]{0,4})?|(?:hmac|auth|auth-trunc|aead|xcbc|-a"
    r"|a)[a-z0-9_()-]{0,24}[\"' ,]{1,4}(?:\[[a-z0-9 ]{1,16}\][\"' ,]{0,4})?(?=0x)?)\Z"
)


def _follows_algorithm(match: re.Match[str]) -> bool:
    """Whether the name of a cipher stands before a value, or `E:` or `A:` before its bytes."""
    value, start = match["v"].lower(), match.start("v")
    line = match.string[max(0, start - _TAIL) : start].rpartition("\n")[2].lower()
    if ":" in value:
        return line.endswith(("e: ", "a: ")) and not line.endswith(("ee: ", "data: ", "sha: "))
    return value.startswith("0x") and bool(_ALGORITHM.search(line))


def _of_tester(match: re.Match[str]) -> bool:
    """Whether a value is an argument of the command that configures a USIM, or a long one of another forwarded command."""
    line = _line_of(match).lower()
    return "usimconfig" in line or ("forw mte" in line and len(match["v"]) >= 32)


def _beside_identity(match: re.Match[str]) -> bool:
    """Whether a value stands on the line of a subscriber and has no name that makes it something else."""
    line = _line_of(match).lower()
    if "<imsi" not in line and "<iccid" not in line:
        return False
    start = match.start("v")
    return not is_other_hex(match.string[max(0, start - _TAIL) : start].rpartition("\n")[2])


KEY_RULES: Final = (
    RedactionRule(
        "key-3gpp",
        "key",
        _KEY_TRIGGERS,
        rf"{_KEY_NAME}{LENGTH}{_KEY_GAP}(?P<v>{HEX_WORDS}|{_HEX_BYTES}|(?:0x)?[0-9a-f]{{16,128}}){_HEX_END}",
        "derived keys (3GPP TS 33.401, TS 33.501) decrypt recorded traffic",
        (
            ("kgnb : 0 1a 2b 3c 4d 5e 6f 70 81 92", "kgnb : <key>"),
            ("k_asme: 00112233445566778899aabbccddeeff, n: 0", "k_asme: <key>, n: 0"),
            ("DerivateKamf() 00112233445566778899aabbccddeeff", "DerivateKamf() <key>"),
            ("KgNB len=16 00112233445566778899aabbccddeeff", "KgNB len=16 <key>"),
        ),
    ),
    RedactionRule(
        "key-usim",
        "key",
        (
            _LONG_HEX,
            *_BYTES_HEX,
            Trigger("", rf"(?<![0-9a-z][ _-]){_FOUR_WORDS}", "words"),
            Trigger("", r"(?<![0-9a-z][ _-])(?:[0-9a-f]{4}[ _-]){7}[0-9a-f]{4}(?![ _-]?[0-9a-z])", "quads"),
            Trigger("", "", "0x-words"),
        ),
        rf"(?<![a-z0-9])(?:ki?|op(?:_?c)?|[ci]k)[0-9']?{LENGTH}{_KEY_GAP}"
        r"(?P<v>(?:0x)?[0-9a-f]{28,36}|(?:0x)?[0-9a-f]{64}"
        rf"|(?:0x)?{_FOUR_WORDS}|0x[0-9a-f]{{8}}(?:[ _-]0x[0-9a-f]{{8}}){{3}}"
        r"|[0-9a-f]{4}(?:[ _-][0-9a-f]{4}){7}(?![ _-]?[0-9a-z])"
        r"|(?:0x)?[0-9a-f]{2}(?:(?:[ \t]{1,2}|[:,-][ \t]?)(?:0x)?[0-9a-f]{2}(?![0-9a-z])){14,63})(?![0-9a-z])",
        "the subscriber's long-term keys; one-letter names, so only for values of the right length",
        (
            ("Ki=00112233445566778899aabbccddeeff, OPc=00112233445566778899AABBCCDDEEFF", "Ki=<key>, OPc=<key>"),
            ('"k" : "00112233 44556677 8899AABB CCDDEEFF"', '"k" : "<key>"'),
            ("K: 00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff", "K: <key>"),
        ),
    ),
    RedactionRule(
        "key-tm500",
        "key",
        (Trigger("usimconfig"), _LONG_HEX),
        r"(?<![0-9a-z])(?P<v>(?:0x)?(?:[0-9a-f]{16}){1,8})(?![0-9a-z])",
        "`UsimConfig` of the TM500 takes K, OP, OPc and the constants of the algorithm by position",
        (
            (
                "forw mte UsimConfig 0 [] [00112233445566778899AABBCCDDEEFF] [] [1]",
                "forw mte UsimConfig 0 [] [<key>] [] [1]",
            ),
        ),
        accept=_of_tester,
    ),
    RedactionRule(
        "key-named",
        "key",
        (_LONG_HEX, *_BYTES_HEX),
        _LONG_VALUE,
        "16 bytes and more whose name says key; cache keys, public keys, challenges and hashes stay",
        (
            ("NAS ciphering key: 00112233445566778899aabbccddeeff", "NAS ciphering key: <key>"),
            ('uicc0.key = "00112233445566778899aabbccddeeff";', 'uicc0.key = "<key>";'),
            ("SET OPc=UNHEX('00112233445566778899aabbccddeeff')", "SET OPc=UNHEX('<key>')"),
            ("EncOpcKey:00112233445566778899aabbccddeeff", "EncOpcKey:<key>"),
            ("gp --key-enc 00112233445566778899AABBCCDDEEFF", "gp --key-enc <key>"),
            ("Key: 00.11.22.33.44.55.66.77.88.99.aa.bb.cc.dd.ee.ff.", "Key: <key>."),
            ("cache key: 00112233445566778899aabbccddeeff", "cache key: 00112233445566778899aabbccddeeff"),
        ),
        accept=_is_named,
    ),
    RedactionRule(
        "key-beside-identity",
        "key",
        (Trigger("<imsi"), Trigger("<iccid")),
        r"(?<![0-9a-z])(?P<v>(?:0x)?[0-9a-f]{32}(?:[0-9a-f]{32})?)(?![0-9a-z])",
        "16 or 32 bytes on the line of a subscriber are the key, unless a name says otherwise",
        (
            ("IMSI 001010000000042: 00112233445566778899aabbccddeeff", "IMSI <imsi>: <key>"),
            (
                "imsi-001010000000042 rand=00112233445566778899aabbccddeeff",
                "imsi-<imsi> rand=00112233445566778899aabbccddeeff",
            ),
        ),
        accept=_beside_identity,
    ),
    RedactionRule(
        "key-of-algorithm",
        "key",
        (_LONG_HEX, *_BYTES_HEX),
        r"(?<![0-9a-z])(?P<v>(?:0x)?[0-9a-f]{32,128}(?![0-9a-z])|[0-9a-f]{2}(?::[0-9a-f]{2}){15,63}(?![0-9a-z:]))",
        "keys of IPsec behind the name of the algorithm",
        (
            ("enc cbc(aes) 0x00112233445566778899aabbccddeeff", "enc cbc(aes) <key>"),
            ("esp 0x1 -A hmac-sha1 0x00112233445566778899aabbccddeeff00112233", "esp 0x1 -A hmac-sha1 <key>"),
        ),
        accept=_follows_algorithm,
    ),
    RedactionRule(
        "key-log",
        "key",
        (Trigger("_secret"), Trigger("client_random"), Trigger("inline:")),
        r"(?:(?<![a-z])(?:client_random|[a-z_]{0,48}_secret(?:_[0-9])?)[ ][0-9a-f]{16,64}[ ]|(?<![a-z])inline:)"
        r"(?P<v>[a-z0-9+/]{30,128}={0,2})(?![0-9a-z])",
        "session keys of TLS in the format of NSS, and of SRTP in SDP",
        (("CLIENT_RANDOM 0011223344556677 00112233445566778899aabbccddeeff", "CLIENT_RANDOM 0011223344556677 <key>"),),
    ),
    RedactionRule(
        "key-base64",
        "key",
        (
            Trigger("opc", r"[a-z_]{0,16}[^a-z0-9\n]{1,8}[a-z0-9+/]{22}"),
            Trigger("key", r"[a-z_]{0,16}[^a-z0-9\n]{1,8}[a-z0-9+/]{22}"),
            *(
                Trigger(name + end, r"[^a-z0-9\n]{0,8}[a-z0-9+/]{22}")
                for name in ("k", "ki", "op")
                for end in ("=", ":", '"', "'", " =", " :")
            ),
        ),
        r"(?<![0-9a-z+/])(?P<v>[a-z0-9+/]{22}(?:==|[a-z0-9+/]=)|[a-z0-9+/]{42}(?:==|[a-z0-9+/]=))(?![a-z0-9+/=])",
        "16 or 32 bytes in base64 behind the name of a key",
        (('auth_opc: "ABEiM0RVZneImaq7zN3u/w=="', 'auth_opc: "<key>"'),),
        accept=_is_named,
    ),
    RedactionRule(
        "key-decimal",
        "key",
        tuple(
            Trigger(name + end, r"[\"' ]{0,3}[:=]?[ ]?[\[{(][ ]?[0-9]{1,3},")
            for name in ("k", "ki", "op", "opc", "key")
            for end in ("=", ":", '"', "'", " =", " :")
        ),
        r"(?<=[\[{( ])(?P<v>[0-9]{1,3}(?:,[ ]?[0-9]{1,3}){15,63})(?=[ ]?[\]})])",
        "bytes as decimal numbers",
        (('"k":[0,17,34,51,68,85,102,119,136,153,170,187,204,221,238,255]', '"k":[<key>]'),),
        accept=_is_named,
    ),
)
