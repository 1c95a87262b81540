"""Rules for cryptographic keys of subscribers and connections, printed as hex digits behind their name."""

from typing import Final

from stream_triage.stages.redact.rule import ANSI, RedactionRule, Trigger

__all__ = ["HEX_WORDS", "KEY_RULES", "LENGTH"]

# Hex digits as logs print them: in one run, in words of 8 or 4, or byte by byte, each byte with or without 0x.
_HEX_END = r"(?![0-9a-z])"
_HEX_BYTES = r"(?:0x)?[0-9a-f]{1,2}(?:(?:[ \t]{1,2}|[:,-][ \t]?)(?:0x)?[0-9a-f]{1,2}(?![0-9a-z])){7,63}"
HEX_WORDS = r"(?:0x)?(?:[0-9a-f]{8}(?:[ _-](?:0x)?[0-9a-f]{8}){3,7}|[0-9a-f]{4}(?:[ _-][0-9a-f]{4}){7,15})"
_KEY_GAP = rf"(?:{ANSI}|[ \t\"'\\:=\[(){{<>|,*-]){{1,12}}+"
# The length that some programs print between name and value: `(32)`, `[32 bytes]`, `len=32`; a bare number may be a byte.
_SIZE = r"(?:(?:len|length|size)[ \t]?[=:]?[ \t]?)?[0-9]{1,3}"
_UNIT = r"[ \t-]?(?:byte|bit|octet)s?"
LENGTH = (
    rf"(?:[ \t,]{{0,2}}(?:[(\[]{_SIZE}(?:{_UNIT})?[)\]]|(?:(?:len|length|size)[ \t]?[=:]?[ \t]?)[0-9]{{1,3}}(?:{_UNIT})?"
    rf"(?![0-9a-z])|[0-9]{{1,3}}{_UNIT}(?![0-9a-z])))?"
)
_KEY_NAME = (
    r"(?:k_?(?:asme|amf|ausf|seaf|akma|n3iwf|wagf|[ge]nb|(?:nas|rrc|up|rc|fc)_?(?:enc|int|prf)|aut|encr)"
    r"(?:['*]|[_ ]?star|[_ ]?key)?|xres\*?)"
)
_KEY_TRIGGERS = (
    Trigger("", r"k_?(?:asme|amf|ausf|seaf|akma|n3iw|wagf|[ge]nb|nas|rrc|up_?[eip]|rc|fc|aut|encr)"),
    Trigger("xres"),
)

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
            Trigger(
                "",
                r"[kcoi](?<![a-z0-9][kcoi])(?:i|k|p(?:_?c)?)?[0-9']?[^0-9a-z\n]{1,12}(?:\[[0-9;]{0,12}m[^0-9a-z\n]{0,12}){0,3}"
                r"(?:0x)?[0-9a-f]{1,2}[0-9a-fx :,\t_-]{12}",
            ),
        ),
        rf"(?<![a-z0-9])(?:ki?|op(?:_?c)?|[ci]k)[0-9']?{_KEY_GAP}"
        r"(?P<v>(?:0x)?[0-9a-f]{28,36}|(?:0x)?[0-9a-f]{64}"
        r"|(?:0x)?[0-9a-f]{8}(?:[ _-](?:0x)?[0-9a-f]{8}){3}|(?:0x)?[0-9a-f]{4}(?:[ _-][0-9a-f]{4}){7}"
        r"|(?:0x)?[0-9a-f]{1,2}(?:(?:[ \t]{1,2}|[:,-][ \t]?)(?:0x)?[0-9a-f]{1,2}(?![0-9a-z])){14,63})(?![0-9a-z])",
        "the subscriber's long-term keys; one-letter names, so only for values of the right length",
        (
            ("Ki=00112233445566778899aabbccddeeff, OPc=00112233445566778899AABBCCDDEEFF", "Ki=<key>, OPc=<key>"),
            ('"k" : "00112233 44556677 8899AABB CCDDEEFF"', '"k" : "<key>"'),
            ("K: 00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff", "K: <key>"),
        ),
    ),
    RedactionRule(
        "key-named",
        "key",
        (Trigger("key", rf"(?:[ ]?0x)?(?:{ANSI}|[^0-9a-z\n]){{1,12}}(?:0x)?[0-9a-f]{{32}}"),),
        r"(?:(?:ciphering|integrity|encryption|auth(?:entication)?|permanent|subscriber|secret|private|nas|rrc|session)"
        rf"[ _-]?key(?:[ ]?0x)?{_KEY_GAP}(?:0x)?"
        rf"|(?<![a-z0-9_.-])(?<![a-z0-9_.][ ])[\"']?key[\"']?[ \t]?:[ \t]{{0,4}}[\"']?"
        r"|(?<![a-z0-9_-])(?<!cache[ .])(?<!public[ .])(?<!primary[ .])(?<!foreign[ .])key[\"'\\]{0,2}[ \t]{0,4}"
        r"=>?[ \t]{0,4}[\"'\\]{0,2}(?:0x)?"
        r"|(?<![a-z0-9])uicc[0-9]{0,2}\.key[ \t]{1,4}[\"']?)"
        r"(?P<v>[0-9a-f]{32}(?:[0-9a-f]{32})?)(?![0-9a-z])",
        "16 or 32 bytes announced as a key; cache keys and public keys are none",
        (
            ("NAS ciphering key: 00112233445566778899aabbccddeeff", "NAS ciphering key: <key>"),
            ('uicc0.key = "00112233445566778899aabbccddeeff";', 'uicc0.key = "<key>";'),
            ("cache key: 00112233445566778899aabbccddeeff", "cache key: 00112233445566778899aabbccddeeff"),
        ),
    ),
)
