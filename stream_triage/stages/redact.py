r"""Whole lines in, the same lines without secrets and subscriber identities out.

The first stage after line cutting; everything after it, sinks included, only sees what leaves here. `RULES` is the
table of what is replaced. A rule runs only on lines that hold one of its triggers, which a cheap search finds, and
never looks beyond its line, so the answer cannot depend on how lines are batched. Private keys and hex dumps of named
keys are the exception: they go over several lines and are followed by a small state per source.

Judgement calls, each on the side of what people must never see, unless it would blind the triage:

- RAND, AUTN, RES, GUTI, TMSI and key identifiers stay: sent in clear or short-lived, and they tell procedures apart.
- A bare 15-digit number is an IMSI when its first three digits can be a country code; a bare 14 or 16-digit one stays.
- `key = …` wants 32 or 64 hex digits; a database prints its row keys that way too, and they go with it.
- A bare telephone number needs its `+` and at least ten digits.
- `$NAME`, `%s`, `***`, `[secure]`, `null`, `true` and other stand-ins are no secrets; bare `pass` counts tests.
- `token:` and `token=` want a digit in the value; `secret=`, `password=` and their like do not.
- `git@host` is an address of a service, not of a person, and stays.
- An unquoted value ends at a blank, comma, semicolon, ampersand or closing bracket: what stands behind is not its rest.
- Own patterns and secrets never become pseudonyms, only identities do; a null-scheme SUCI gets the one of its IMSI.
- Inside an unfinished private key, at most 8 lines in a row and 2,000 in all may be something else before it is over.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from stream_triage.errors import SettingsError
from stream_triage.settings import RedactionSettings

__all__ = ["RULES", "RedactionPattern", "RedactionState", "Redactor", "Rule", "Trigger"]


class Trigger(NamedTuple):
    """What a line must hold, in lower case, before a rule is tried on it: `literal`, then what `rest` matches.

    The literal is looked for first, in the whole batch, since that costs next to nothing; an empty one skips that step.
    """

    literal: str
    rest: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of secret in one form. The group `v` of the pattern becomes `<kind>`, all of it if there is none."""

    name: str
    kind: str
    triggers: tuple[Trigger, ...]
    pattern: str
    why: str
    examples: tuple[tuple[str, str], ...]
    ignore_case: bool = True


@dataclass(frozen=True, slots=True)
class RedactionPattern:
    """A pattern of the user's own: what it matches, or its group `secret`, becomes `<name>`."""

    name: str
    pattern: str


IDENTITIES: Final = frozenset({"imsi", "imei", "msisdn", "iccid", "email"})
"""Kinds that a pseudonym key turns into stable pseudonyms; guessing a secret from one must stay impossible."""

_MARKER = r"<[a-z][a-z0-9-]*(?::[0-9a-f]{8})?>"
_ANSI = r"\x1b\[[0-9;]{0,12}m"

# Between a name and its value: punctuation, quotes (escaped ones too), brackets, colour codes. Bounded and possessive.
_GAP = rf"(?:{_ANSI}|[ \t\"'\\:=\[\](){{<>,#|_-]|is[ ]){{0,8}}+"
# A pseudonym such as <imsi:12345678> looks like a name with its value.
_NOT_MARKER = r"(?!(?<=<)[a-z]{1,8}:[0-9a-f]{8}>)"

# Hex digits as logs print them: in one run, in words of 8 or 4, or byte by byte, each byte with or without 0x.
_HEX_END = r"(?![0-9a-z])"
_HEX_BYTES = r"(?:0x)?[0-9a-f]{1,2}(?:(?:[ \t]{1,2}|[:,-][ \t]?)(?:0x)?[0-9a-f]{1,2}(?![0-9a-z])){7,63}"
_HEX_WORDS = r"(?:0x)?(?:[0-9a-f]{8}(?:[ _-](?:0x)?[0-9a-f]{8}){3,7}|[0-9a-f]{4}(?:[ _-][0-9a-f]{4}){7,15})"
_KEY_GAP = rf"(?:{_ANSI}|[ \t\"'\\:=\[(){{<>|,*-]){{1,12}}+"
# The length that some print between name and value: `(32)`, `[32 bytes]`, `len=32`; a bare number may be a byte.
_SIZE = r"(?:(?:len|length|size)[ \t]?[=:]?[ \t]?)?[0-9]{1,3}"
_UNIT = r"[ \t-]?(?:byte|bit|octet)s?"
_LENGTH = (
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

# A value after `name=`, `name: `, `"name": "` or `name => `. Stand-ins, code and markers are not values.
_ASSIGN = rf"(?:{_ANSI}|[\"'\\\]]){{0,4}}[ \t]{{0,4}}(?::=|=>|[:=])(?:{_ANSI}|[ \t]){{0,4}}"
_END = r"(?=[\s\"'`,;&)\]}<>\\]|$)"
_STAND_IN = (
    r"(?:null|nil|none|true|false|undefined|yes|no|on|off|string|str|char|bytes|object|int|required|optional|must|should"
    r"|is|are|was|not|cannot|can|invalid|incorrect|wrong|missing|empty|expired|unset|set|and|or|the|for|to|from|in|with"
    r"|has|hidden|masked|redacted|secure|default|\*+|x{3,64}|\.{3,64}|-+|\?+|\$\{?[a-z_][a-z0-9_.]*\}?|\$\(|%[a-z]"
    r"|%\([a-z_]+\)[a-z]|\[(?:secure|hidden|masked|redacted|filtered|removed)\]|[ ]+"
    r"|\{[a-z0-9_.]*\}|\{\{[^\n{}]{0,64}\}\})"
)
_QUOTE = r"(?P<q>\\?[\"'`])?"
_NO_VALUE = (
    rf"(?!{_MARKER})(?!{_STAND_IN}{_END})"
    r"(?(q)(?!\)(?:[\s;:]|$))|(?![a-z_][a-z0-9_.]*+[(\[][^\n]{0,256}[)\]])(?![\[({=<>,;]))"
)
_PLAIN = rf"(?:(?!{_MARKER})[^\s\"'`,;&)\]}}\\\x1b]|\\(?![nrt\"'`\\]))"
_VALUE = rf"{_QUOTE}{_NO_VALUE}(?P<v>(?(q)(?:(?!(?P=q))[^\n]){{1,1024}}|{_PLAIN}{{1,4096}}+))"
_SOON_DIGIT = r"(?=[\"'`\\]{0,2}[^\s\"'`,;&)\]}0-9]{0,512}+[0-9])"

# Paths, and what only looks like name and value: `credentials.py:1102`, `jsonwebtoken:jjwt-api:jar:0.11.2`.
_NOT_PLACE = r"(?![/~]|(?<=:)[a-z0-9_.-]{1,128}+:)"


def _long_value(least: int) -> str:
    """A value of at least so many characters."""
    return rf"(?=[\"'`\\]{{0,2}}[^\s\"'`,;&)\]}}]{{{least}}}){_VALUE}"


_PASSWORD = r"(?:pass(?:word|wd|phrase|wort|code)|(?<![a-z])pwd|(?:db|user|smtp|root|admin|mysql|ssh|ftp)_?pass)[0-9]?"
_PASSWORD_TRIGGERS = (Trigger("pwd"), Trigger("pass", r"(?:w|phrase|code| -p|[0-9]?(?:\x1b|[\"'\\\]])*[ \t]*[:=])"))
_SECRET = (
    r"(?:secret(?:[_.-]?access)?(?:[_. -]?key)?(?:[_.-]?base)?|(?<![a-z])psk|pre[_-]?shared[_-]?key|credentials?"
    r"|(?:api|access|auth|account|private|encrypt(?:ion)?|cipher(?:ing)?|integrity|sign(?:ing)?|session|master|licen[cs]e"
    r"|storage|subscription|deploy|service|hmac|aes|wpa|ssh)[_. -]?key"
    r"|(?:access|refresh|auth|id|api|bearer|session|csrf|xsrf|oauth2?|security|deploy|registry|private|bot|personal)"
    r"[_. -]?token)"
)
_NAME_BEFORE = r"[a-z0-9_.:-]{0,64}"
_PASSWORD_WORD = r"(?:password|passwd|passphrase|passcode|passwort|pwd)"
_SECRET_WORD = (
    r"(?:(?:secret|token|psk|credentials?)|secret[_.-]?access[_.-]?key"
    r"|(?:secret|api|access|private|pre[_.-]?shared|shared)[_.-]?key)"
)
_PAIR_TRIGGERS = (Trigger("value", r"[\"'\\]{1,4}[ \t]{0,4}:"),)
_LONG = r"(?=[\"'\\]{1,4}[^\s\"'\\0-9]{0,512}+[0-9])(?=[\"'\\]{1,4}[^\s\"'\\]{8})"
# The value of a quoted string, without its quotes, and no stand-in for one.
_QUOTED = rf"(?P<q>\\{{0,3}}[\"'])(?!{_MARKER})(?!{_STAND_IN}(?P=q))(?P<v>(?:(?!(?P=q))[^\n]){{1,1024}}+)(?P=q)"


def _element(word: str, value: str) -> str:
    """An XML element with such a name, up to its end."""
    return (
        rf"<(?P<n>{_NAME_BEFORE}{word})(?:[ \t][^<>\n]{{0,256}}+)?>(?:<!\[cdata\[)?(?!{_MARKER})"
        rf"(?![ \t]*+(?:\\?{_STAND_IN})?[ \t]*+(?:\]\]>)?</){value}(?=(?:\]\]>)?</(?P=n)>)"
    )


def _pair(word: str, value: str, *, value_first: bool = False) -> str:
    """`"name": "password", "value": "x"` in JSON, in the order given."""
    colon = r"[ \t]{0,4}:[ \t]{0,4}"
    name = rf"\\{{0,3}}[\"'](?:name|key|id)\\{{0,3}}[\"']{colon}\\{{0,3}}[\"']{_NAME_BEFORE}{word}\\{{0,3}}[\"']"
    assigned = rf"\\{{0,3}}[\"']value\\{{0,3}}[\"']{colon}{value}{_QUOTED}"
    first, second = (assigned, name) if value_first else (name, assigned)
    return rf"{first}[ \t]{{0,4}},[ \t]{{0,4}}{second}"


_SECRET_TRIGGERS = (
    Trigger("secret"),
    Trigger("psk"),
    Trigger("credential"),
    Trigger("token"),
    Trigger("key", r"[^\n]{0,12}[:=]|key "),
)

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "suci",
        "imsi",
        (Trigger("suci-"),),
        r"suci-(?P<v>[0-9]-[0-9a-z.]{1,64}(?:-[0-9a-f]{1,512}){2,8})",
        "the null scheme carries the subscriber number in clear; others are opaque but belong to one subscriber",
        (("[suci-0-001-01-0000-0-0-0000000042] reject", "[suci-<imsi>] reject"),),
    ),
    Rule(
        "imsi-named",
        "imsi",
        (Trigger("imsi"), Trigger("supi"), Trigger("msin")),
        rf"{_NOT_MARKER}(?:imsi|supi|msin)(?:s|[ _-]?(?:number|value|str|list|start|first|base))?{_GAP}"
        r"(?P<v>[0-9]{3}[ .-][0-9]{2,3}[ .-][0-9]{9,10}|[0-9]{5,18})(?![0-9])",
        "the subscriber, whatever stands between the word and the digits",
        (
            ("IMSI=001010000000042, IMEISV=1", "IMSI=<imsi>, IMEISV=1"),
            ('"imsi": "001010000000042"', '"imsi": "<imsi>"'),
            ("[imsi-001010000000042:1:2]", "[imsi-<imsi>:1:2]"),
            ("UE IMSI:[00101042] gone", "UE IMSI:[<imsi>] gone"),
        ),
    ),
    Rule(
        "imei-named",
        "imei",
        (Trigger("imei"),),
        rf"{_NOT_MARKER}imei(?:[ _-]?sv)?{_GAP}"
        rf"(?P<v>[0-9]{{2}}-?[0-9]{{6}}-?[0-9]{{6}}(?:-?[0-9]{{1,2}})?|[0-9]{{8,18}})(?![0-9])",
        "the device, and with it who carries it",
        (("IMEISV[0035609204079514]", "IMEISV[<imei>]"), ("imei-35-609204-079514-0", "imei-<imei>")),
    ),
    Rule(
        "iccid-named",
        "iccid",
        (Trigger("iccid"),),
        rf"{_NOT_MARKER}iccid{_GAP}(?P<v>[0-9]{{10,22}}f?)(?![0-9a-z])",
        "the card, as good as the subscriber",
        (("ICCID: 8900000000000000042F", "ICCID: <iccid>"),),
    ),
    Rule(
        "msisdn-named",
        "msisdn",
        (Trigger("msisdn"), Trigger("gpsi"), Trigger("tel:"), Trigger("phone")),
        rf"{_NOT_MARKER}(?:msisdn|gpsi|(?<![a-z])tel(?=:)|phone[ _-]?(?:number|no\.?)){_GAP}"
        r"(?P<v>\+?[0-9]{5,16})(?![0-9])",
        "the telephone number",
        (("msisdn-491700000042", "msisdn-<msisdn>"), ("<tel:+491700000042>", "<tel:<msisdn>>")),
    ),
    Rule(
        "tm500-imsi",
        "imsi",
        (Trigger("+", r"(?<=[0-9]\+)[0-9]{1,9}[ ][23]\]"),),
        r"(?<=\[)(?P<v>[0-9]{5,16})(?=\+[0-9]{1,9}[ ][23]\])",
        "TM500 writes IMSI, increment and the length of the network code in brackets",
        (("USIMCONFIG 0 [0010142+1 2]", "USIMCONFIG 0 [<imsi>+1 2]"),),
    ),
    Rule(
        "msisdn-bare",
        "msisdn",
        (Trigger("+", r"[1-9][0-9]{9}"),),
        r"(?<![0-9a-z+._)\]-])(?P<v>\+[1-9][0-9]{9,14})(?![0-9a-z]|\.[0-9])",
        "an international number with its plus sign",
        (("dial +491700000042 now", "dial <msisdn> now"),),
    ),
    Rule(
        "imsi-bare",
        "imsi",
        (Trigger("", r"[0-9]{15}"),),
        r"(?<![0-9a-z])(?<![0-9]\.)(?!2814749767106)(?P<v>(?:001|[2-7][0-9]{2}|901|999)[0-9]{12})(?![0-9a-z]|\.[0-9])",
        "15 digits that start with a country code; 281474976710655 is 2^48-1",
        (("attach 001010000000042 ok", "attach <imsi> ok"), ("id='140462566084240'", "id='140462566084240'")),
    ),
    Rule(
        "key-3gpp",
        "key",
        _KEY_TRIGGERS,
        rf"{_KEY_NAME}{_LENGTH}{_KEY_GAP}(?P<v>{_HEX_WORDS}|{_HEX_BYTES}|(?:0x)?[0-9a-f]{{16,128}}){_HEX_END}",
        "derived keys open the recorded traffic",
        (
            ("kgnb : 0 1a 2b 3c 4d 5e 6f 70 81 92", "kgnb : <key>"),
            ("k_asme: 00112233445566778899aabbccddeeff, n: 0", "k_asme: <key>, n: 0"),
            ("DerivateKamf() 00112233445566778899aabbccddeeff", "DerivateKamf() <key>"),
            ("KgNB len=16 00112233445566778899aabbccddeeff", "KgNB len=16 <key>"),
        ),
    ),
    Rule(
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
    Rule(
        "key-named",
        "key",
        (Trigger("key", rf"(?:[ ]?0x)?(?:{_ANSI}|[^0-9a-z\n]){{1,12}}(?:0x)?[0-9a-f]{{32}}"),),
        r"(?:(?:ciphering|integrity|encryption|auth(?:entication)?|permanent|subscriber|secret|private|nas|rrc|session)"
        rf"[ _-]?key(?:[ ]?0x)?{_KEY_GAP}(?:0x)?"
        rf"|(?<![a-z0-9_.-])(?<![a-z0-9_.][ ])[\"']?key[\"']?[ \t]?:[ \t]{{0,4}}[\"']?"
        r"|(?<![a-z0-9_-])(?<!cache[ .])(?<!public[ .])(?<!primary[ .])(?<!foreign[ .])key[\"'\\]{0,2}[ \t]{0,4}"
        r"=>?[ \t]{0,4}[\"'\\]{0,2}(?:0x)?"
        r"|(?<![a-z0-9])uicc[0-9]{0,2}\.key[ \t]{1,4}[\"']?)"
        r"(?P<v>[0-9a-f]{32}(?:[0-9a-f]{32})?)(?![0-9a-z])",
        "16 or 32 bytes that are said to be a key; cache keys and public keys are not",
        (
            ("NAS ciphering key: 00112233445566778899aabbccddeeff", "NAS ciphering key: <key>"),
            ('uicc0.key = "00112233445566778899aabbccddeeff";', 'uicc0.key = "<key>";'),
            ("cache key: 00112233445566778899aabbccddeeff", "cache key: 00112233445566778899aabbccddeeff"),
        ),
    ),
    Rule(
        "url-password",
        "password",
        (Trigger("@", r"(?<=[^\s]@)[a-z0-9\[$]"),),
        rf"://[^\s/@:\"'<>]{{0,256}}:(?!{_MARKER}|[$][{{]?[a-z0-9_]{{1,64}}[}}]?@|\*+@)(?P<v>[^\s/\"']{{1,256}})(?=@)",
        "credentials in an address",
        (("https://bob:s3cr3t@example.org/x", "https://bob:<password>@example.org/x"),),
    ),
    Rule(
        "url-token",
        "token",
        (Trigger("@", r"(?<=[^\s]@)[a-z0-9\[]"),),
        rf"://(?!{_MARKER})(?=[a-z_-]{{0,64}}+[0-9])(?P<v>[a-z0-9_-]{{16,256}}+)(?=@)",
        "a token in the place of a user name",
        (("https://abcdef0123456789abcd@example.org/x", "https://<token>@example.org/x"),),
    ),
    Rule(
        "authorization",
        "token",
        (Trigger("authorization", r"[^\n]{0,8}[:=]"),),
        rf"authorization{_ASSIGN}[\"'\\]{{0,2}}(?:bearer|basic|token|negotiate|ntlm|apikey|(?P<d>digest|aws4-hmac-sha256))"
        rf"[ \t]{{1,4}}(?!{_MARKER}|[$*\[{{])(?P<v>(?(d)[^\n]{{3,8192}}|[^\s\"',;]{{3,8192}}))",
        "what a request is let in with",
        (("Authorization: Basic Zm9vOmJhcg==", "Authorization: Basic <token>"),),
    ),
    Rule(
        "authorization-plain",
        "token",
        (Trigger("authorization", r"[^\n]{0,8}[:=]"),),
        rf"authorization{_ASSIGN}(?!(?:bearer|basic|token|digest|negotiate|ntlm|apikey|aws4-hmac-sha256)[ \t])"
        rf"{_SOON_DIGIT}{_long_value(12)}",
        "the same without a scheme",
        (('"authorization": "0123456789abcdef"', '"authorization": "<token>"'),),
    ),
    Rule(
        "bearer",
        "token",
        (Trigger("bearer", r"[ \t]{1,4}[a-z0-9._~+/=-]{20}"),),
        rf"(?<![a-z])bearer[ \t]{{1,4}}(?!{_MARKER})(?=[a-z._~+/=-]{{0,512}}+[0-9])(?P<v>[a-z0-9._~+/=-]{{20,8192}}+)",
        "a radio bearer is a common word, so only long values with a digit",
        (
            ("sent Bearer abcdefghij0123456789", "sent Bearer <token>"),
            ("EPS bearer 5 released", "EPS bearer 5 released"),
        ),
    ),
    Rule(
        "cookie",
        "token",
        (Trigger("cookie"),),
        rf"(?<![a-z])(?:set-)?cookie2?[\"'\\]{{0,2}}[ \t]?:[ \t]{{0,4}}[\"'\\]{{0,2}}(?!{_MARKER})"
        r"(?P<v>[a-z0-9_.!#$%&*+^|~-]{1,256}+=[^\n\"']{1,8192})",
        "sessions; the cookies of SCTP are not written as name=value",
        (("Set-Cookie: sid=abc; Path=/", "Set-Cookie: <token>"),),
    ),
    Rule(
        "password",
        "password",
        _PASSWORD_TRIGGERS,
        rf"{_PASSWORD}{_ASSIGN}(?![/~:]|[a-z]:[\\/])(?!(?<=:[ ])[a-z]{{1,64}}+[ \t]+[a-z(])"
        rf"(?!x?:[0-9x]|(?<=:[ ])[0-9]{{1,2}}{_END}){_VALUE}",
        "`password=…` in every common spelling; `PWD=/…` is a folder, `password: must be …` is prose",
        (
            ("DB_PASSWORD=hunter2", "DB_PASSWORD=<password>"),
            ('"passwd": "a b\'c", "n": 1', '"passwd": "<password>", "n": 1'),
            ("password: must be longer", "password: must be longer"),
        ),
    ),
    Rule(
        "pw",
        "password",
        (Trigger("pw", rf"(?:{_ANSI}|[\"'\\\]]){{0,4}}[ \t]{{0,4}}[:=]"),),
        rf"(?<![a-z0-9])pw(?=[^:=\n]{{0,64}}+(?:=|:[ \t]*[\"']|:=)){_ASSIGN}(?![/~:\\])"
        rf"(?![\"']?[+-]?(?:[0-9]{{1,9}}(?:\.[0-9]{{0,9}})?|\.[0-9]{{1,9}})(?:dbm?|m?w|[mun]s|px|%|[khmg]?hz)?{_END}){_VALUE}",
        "a power or a pulse width is a number, so that stays",
        (("pw=hunter2", "pw=<password>"), ("pw=-23.5 dBm", "pw=-23.5 dBm")),
    ),
    Rule(
        "element",
        "password",
        _PASSWORD_TRIGGERS,
        _element(_PASSWORD_WORD, r"(?P<v>[^<\n]{1,1024}?)"),
        "an XML element named after a password",
        (("<Password>hunter2</Password>", "<Password><password></Password>"),),
    ),
    Rule(
        "element-secret",
        "token",
        (*_SECRET_TRIGGERS, Trigger("key>")),
        _element(_SECRET_WORD, r"(?:(?<!token>)|(?=[^<\n0-9]{0,512}+[0-9])(?=[^<\n]{8}))(?P<v>[^<\n]{1,4096}?)"),
        "the same with a secret; a parser's <token> is short or has no digit",
        (("<ApiKey>abcdef</ApiKey>", "<ApiKey><token></ApiKey>"), ("<token>while</token>", "<token>while</token>")),
    ),
    Rule(
        "pair",
        "password",
        _PAIR_TRIGGERS,
        _pair(_PASSWORD_WORD, ""),
        "name and value as members of their own",
        (('{"name":"password","value":"hunter2"}', '{"name":"password","value":"<password>"}'),),
    ),
    Rule(
        "pair-turned",
        "password",
        _PAIR_TRIGGERS,
        _pair(_PASSWORD_WORD, "", value_first=True),
        "the same, value first",
        (('{"value":"hunter2","name":"password"}', '{"value":"<password>","name":"password"}'),),
    ),
    Rule(
        "pair-secret",
        "token",
        _PAIR_TRIGGERS,
        _pair(_SECRET_WORD, _LONG),
        "tokens in that form",
        (('{"name":"API_TOKEN","value":"abc12345"}', '{"name":"API_TOKEN","value":"<token>"}'),),
    ),
    Rule(
        "pair-secret-turned",
        "token",
        _PAIR_TRIGGERS,
        _pair(_SECRET_WORD, _LONG, value_first=True),
        "the same, value first",
        (('{"value":"abc12345","name":"API_TOKEN"}', '{"value":"<token>","name":"API_TOKEN"}'),),
    ),
    Rule(
        "curl-user",
        "password",
        (Trigger("curl"),),
        r"(?<![a-z])curl(?:\.exe)?[ \t][^\n|]{0,512}?(?<=[ \t])(?:-[a-z]{0,4}u[ \t]{0,4}|--(?:proxy-)?user(?:[ \t]{1,4}|=))"
        rf"(?P<q>\\?[\"'])?(?!-)[^\s:\"'@|\\]{{1,128}}:(?!{_MARKER})(?!{_STAND_IN}{_END})(?!//)"
        r"(?P<v>(?(q)(?:(?!(?P=q))[^\n]){1,256}+|[^\s\"'`;&|<>\\]{1,256}+))",
        "a user and password for curl; elsewhere `--user 1000:1000` is a user and a group",
        (("curl -u bob:hunter2 http://x", "curl -u bob:<password> http://x"),),
    ),
    Rule(
        "mysql",
        "password",
        (Trigger("mysql", r"[^\n]{0,300}[ \t]-p[^ \t\n]"),),
        r"(?<![a-z0-9_.=-])mysql(?:dump|admin|import|show|check)?[ \t]"
        r"[^\n|;]{0,256}?(?<=[ \t])(?-i:-p)(?![0-9.:]{1,32}:[0-9])"
        rf"(?P<q>\\?[\"'])?(?!{_MARKER})(?!{_STAND_IN}{_END})"
        r"(?P<v>(?(q)(?:(?!(?P=q))[^\n]){1,256}+|[^\s\"'`;&|<>\\]{3,256}+))",
        "its short option takes the password without a blank; -P is a port, and Docker's -p a pair of them",
        (("mysql -u root -phunter2 db", "mysql -u root -p<password> db"), ("mysql -p db", "mysql -p db")),
    ),
    Rule(
        "sim-pin",
        "password",
        (Trigger("at+c", r"(?:pin|pwd|lck)="),),
        r"at\+c(?:pin=|pwd=\\?\"?[a-z0-9]{2}\\?\"?,|lck=\\?\"?[a-z0-9]{2}\\?\"?,[0-2],)[ ]?\\?\"?"
        r"(?P<v>[0-9]{4,8}(?:\\?\"?,[ ]?\\?\"?[0-9]{4,8})?)(?![0-9])",
        "what unlocks the card; `AT+CPIN?` only asks",
        (('AT+CPIN="1234"', 'AT+CPIN="<password>"'), ("AT+CPIN?", "AT+CPIN?")),
    ),
    Rule(
        "session",
        "token",
        (Trigger("sess", r"(?:ion[_-]?)?id[a-z]{0,16}="),),
        rf"(?:(?<![a-z])(?:jsessionid|phpsessid|aspsessionid[a-z]{{0,16}}|asp\.net_sessionid)="
        rf"|(?<![a-z])session[_-]?id=(?!0x|[\"']?[0-9]+{_END})(?=[\"']?[^\s\"'`,;&)\]}}]{{20}})(?=[^\s0-9]{{0,512}}+[0-9]))"
        rf"(?=[\"']?[^\s\"'`,;&)\]}}]{{6}}){_VALUE}",
        "the cookie of a session; the number of a PDU or PFCP session is none",
        (
            ("GET /x;jsessionid=0A1B2C3D4E5F", "GET /x;jsessionid=<token>"),
            ("sessionId=4711 up", "sessionId=4711 up"),
        ),
    ),
    Rule(
        "option",
        "password",
        _PASSWORD_TRIGGERS,
        rf"(?:(?<![^\s\"'=\[(,])--?(?:[a-z0-9]{{1,32}}-){{0,4}}(?:password|passwd|passphrase|pwd)[ \t]{{1,4}}"
        rf"|sshpass[ \t]{{1,4}}-p[ \t]?)(?!-|(?-i:[A-Z][A-Z_]{{1,32}})(?:[ \t]|$)){_VALUE}",
        "passwords on a command line",
        (
            ("run --password hunter2 -v", "run --password <password> -v"),
            ("sshpass -p hunter2 ssh", "sshpass -p <password> ssh"),
        ),
    ),
    Rule(
        "option-token",
        "token",
        _SECRET_TRIGGERS,
        rf"(?<![^\s\"'=\[(,])--?(?:[a-z0-9]{{1,32}}-){{0,4}}(?:token|secret|api-?key|access-key|secret-key|private-key)"
        rf"[ \t]{{1,4}}(?![-/]){_SOON_DIGIT}{_long_value(8)}",
        "tokens on a command line",
        (("ship --api-key abc12345 --dry", "ship --api-key <token> --dry"),),
    ),
    Rule(
        "secret",
        "token",
        _SECRET_TRIGGERS,
        rf"{_SECRET}(?:(?={_ASSIGN}[\"'`])|(?=[ \t]?=)|(?={_ASSIGN}{_SOON_DIGIT}))"
        rf"{_ASSIGN}{_NOT_PLACE}{_long_value(5)}",
        "API keys, access tokens and shared secrets after their names; after a colon quoted or with a digit",
        (
            ("api_key=abcdef0123", "api_key=<token>"),
            ("client_secret: 'correct horse'", "client_secret: '<token>'"),
            ("AWS_SECRET_ACCESS_KEY=[secure]", "AWS_SECRET_ACCESS_KEY=[secure]"),
        ),
    ),
    Rule(
        "token",
        "token",
        (Trigger("token"),),
        rf"token{_ASSIGN}{_NOT_PLACE}{_SOON_DIGIT}{_long_value(8)}",
        "a parser's tokens hardly ever have eight characters with a digit among them",
        (("token: abcd1234efgh", "token: <token>"), ("unexpected token: }", "unexpected token: }")),
    ),
    Rule(
        "query",
        "token",
        (Trigger("sig", r"[a-z]{0,6}="), *_SECRET_TRIGGERS),
        rf"[?&](?:sig|signature|key|x-amz-(?:signature|credential|security-token)|x-goog-signature)=(?!{_MARKER})"
        r"(?=[^\s&\"'#<>0-9]{0,512}+[0-9])(?P<v>[^\s&\"'#<>]{16,4096}+)",
        "signed addresses work for whoever has them",
        (("https://x.example/f?sig=abcdef0123456789&v=1", "https://x.example/f?sig=<token>&v=1"),),
    ),
    Rule(
        "token-shape",
        "token",
        (
            *(
                Trigger(word)
                for word in ("akia", "asia", "_pat_", "xox", "xapp-", "pypi-ag", "aiza", "ya29.", "gocspx-", "secret")
            ),
            *(Trigger(word) for word in ("hf_", "glsa_", "dop_v1_", "rubygems_", "atatt3", "slack.com/serv")),
            Trigger("gh", r"[pousr]_"),
            Trigger("gl", r"(?:pat|ptt|dt|rt)-"),
            Trigger("npm_", r"[a-z0-9]{30}"),
            Trigger("k_", r"(?:live|test)_"),
            Trigger("sk-", r"[a-z0-9_-]{32}"),
            Trigger("sg.", r"[a-z0-9_-]{16}"),
            Trigger("shp", r"[a-z]{2}_"),
            Trigger("hv", r"[sb]\."),
        ),
        r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9])|gh[pousr]_[A-Za-z0-9]{16,255}|github_pat_[A-Za-z0-9_]{22,255}"
        r"|gl(?:pat|ptt|dt|rt)-[A-Za-z0-9_.-]{16,255}|xox[abeoprs]-[A-Za-z0-9-]{10,255}|xapp-[A-Za-z0-9-]{10,255}"
        r"|npm_[A-Za-z0-9]{30,64}|pypi-Ag[A-Za-z0-9_-]{40,1024}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,1024}"
        r"|GOCSPX-[A-Za-z0-9_-]{20,64}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,255}|sk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,255}"
        r"|hf_[A-Za-z0-9]{30,64}|glsa_[A-Za-z0-9_]{32,64}|dop_v1_[a-f0-9]{32,128}|SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}"
        r"|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}|hv[sb]\.[A-Za-z0-9_-]{24,255}|dckr_pat_[A-Za-z0-9_-]{20,64}"
        r"|rubygems_[a-f0-9]{40,64}|ATATT3[A-Za-z0-9_=-]{20,255}|hooks\.slack\.com/services/(?P<v>[A-Za-z0-9/]{16,128})"
        r"|AGE-SECRET-KEY-1[A-Z0-9]{40,80})",
        "tokens that say themselves what they are",
        (
            ("found ghp_0123456789abcdefghij0123456789abcdef", "found <token>"),
            ("id AKIAABCDEFGHIJKLMNOP", "id <token>"),
        ),
        ignore_case=False,
    ),
    Rule(
        "jwt",
        "token",
        (Trigger("eyj"),),
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,8192}+(?:\.{1,2}[A-Za-z0-9_-]{1,16384}+){1,4}",
        "a JSON web token, signed or encrypted",
        (("got eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln!", "got <token>!"),),
        ignore_case=False,
    ),
    Rule(
        "email",
        "email",
        (Trigger("@", r"(?<=[a-z0-9_.+%-]@)[a-z0-9-]+\."),),
        r"(?<![a-z0-9_.+%$-])(?!git@)(?P<v>[a-z0-9_.+%-]++"
        r"@(?!v?[0-9]+\.[0-9]|[23]x\.|[0-9a-f]{6,8}\.[a-z]{1,64}\()(?:[a-z0-9-]{1,63}+\.){1,8}"
        r"(?!(?:service|socket|target|timer|mount|scope|slice|png|jpe?g|gif|svg|js|ts|css|json|html)(?![a-z0-9]))"
        r"[a-z]{2,24})(?![a-z0-9])",
        "people, and subscribers written as network access identifiers",
        (("by Bob <bob@example.org>", "by Bob <<email>>"), ("git@example.org:a/b", "git@example.org:a/b")),
    ),
)

# Private keys: PEM, OpenSSH, PGP, SSH2. The label between the dashes says which; certificates and public keys stay.
_PEM_LABEL = r"(?:[A-Z0-9]{1,12}[ ]){0,4}PRIVATE KEY(?: BLOCK)?"
_PEM_BEGIN = re.compile(rf"-{{4,5}} ?BEGIN {_PEM_LABEL} ?-{{4,5}}")
_PEM_END = re.compile(rf"-{{4,5}} ?END {_PEM_LABEL} ?-{{4,5}}")
# What may follow BEGIN on the same line: the key with literal \n, or with blanks for line ends.
_PEM_INLINE = re.compile(
    r"(?:(?:\\{1,4}[nrt]|[ \t])*+(?:(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset): [^\\\n]{0,256}(?=\\)"
    r"|[A-Za-z0-9+/=]{16,}+))*+(?:\\{1,4}[nr][A-Za-z0-9+/=]{1,15}+)?(?:\\{1,4}[nr])*+"
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}|=[A-Za-z0-9+/]{4}")
_NOT_HEX = re.compile(r"[g-zG-Z+/]")
# Bytes below the name of a key, up to the end of the line, whatever log prefix stands before; an offset goes with them.
_DUMP_BYTES = "|".join(
    rf"(?:0x)?[0-9a-f]{digits}(?:{between}(?:0x)?[0-9a-f]{digits}){{{least},63}}"
    for digits, least in (("{2}", 7), ("{1,2}", 13))
    for between in (r"[ \t]{1,3}(?:-[ \t])?", "[:-]", r"[:,][ \t]?")
)
_HEX_DUMP = re.compile(
    rf"(?<![^\s\]|\"'=:(])(?<![0-9]:)(?:(?:0x)?[0-9a-f]{{2,8}}:?[ \t]{{1,4}})?"
    rf"(?:{_DUMP_BYTES}|{_HEX_WORDS}|(?:0x)?[0-9a-f]{{32}}(?:[0-9a-f]{{32}})?)"
    r"(?:[ \t]{1,8}\|[^\n]{0,64}(?=\|))?(?=[\"'|,;]{0,3}[ \t]*\r?$)",
    re.IGNORECASE | re.ASCII,
)
# The name of a key at the end of a lower-case line: its bytes follow as a hex dump. All begin with k, found fast.
_TITLE_END = rf"{_LENGTH}[ \t]{{0,4}}[:=]?[ \t]{{0,4}}\r?$"
_DUMP_TITLE = re.compile(
    r"k(?:_?(?:asme|amf|ausf|seaf|[ge]nb|(?:nas|rrc|up)_?(?:enc|int))(?:['*]|[_ ]?star|[_ ]?key)?"
    r"|(?<![a-z0-9_.>-]k)(?:i|(?<![a-z0-9_.>][ ]k)(?:ey)?)|(?<=[ci]k)(?<![a-z0-9_.>-][ci]k)"
    rf"|(?:(?<=ciphering[ _]k)|(?<=integrity[ _]k)|(?<=encryption[ _]k)|(?<=permanent[ _]k))ey){_TITLE_END}",
    re.MULTILINE | re.ASCII,
)
_DUMP_TITLE_OP = re.compile(rf"op(?<![a-z0-9_>-]op)_?c{_TITLE_END}", re.MULTILINE | re.ASCII)

_MOST_KEY_LINES: Final = 2_000
_MOST_STRANGE_LINES: Final = 8
_MOST_DUMP_LINES: Final = 4
_MOST_DUMP: Final = 700
_MOST_PREFIX: Final = 200
_PASSES: Final = 6


class RedactionState:
    """What one source keeps between batches: replacements so far, and how far it is inside a private key or dump."""

    __slots__ = ("counts", "dump_left", "ending", "key_lines", "prefix", "strange")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.key_lines = 0  # lines since BEGIN, itself included; 0 outside
        self.strange = 0  # lines in a row that are no part of the key
        self.prefix = ""  # shape of what stands left of the key's lines: time stamp, level
        self.ending = False  # a short line of the key was seen, which only its last can be
        self.dump_left = 0  # lines of a hex dump that may still follow the name of a key

    @property
    def open(self) -> bool:
        """Whether the next line may be part of something that began earlier."""
        return self.key_lines > 0 or self.dump_left > 0

    def count(self, kind: str) -> None:
        """Notes one replacement."""
        self.counts[kind] = self.counts.get(kind, 0) + 1


class _Compiled(NamedTuple):
    rule: Rule
    pattern: re.Pattern[str]
    grouped: bool


def _compile(rule: Rule) -> _Compiled:
    flags = re.ASCII | re.MULTILINE | (re.IGNORECASE if rule.ignore_case else 0)
    pattern = re.compile(rule.pattern, flags)
    return _Compiled(rule, pattern, "v" in pattern.groupindex)


_COMPILED: Final = tuple(_compile(rule) for rule in RULES)


def _trigger_table() -> tuple[tuple[str, re.Pattern[str], tuple[int, ...]], ...]:
    """Each distinct trigger with the rules it wakes, so that a shared word is searched once."""
    wakes: dict[Trigger, list[int]] = {}
    for number, rule in enumerate(RULES):
        for trigger in rule.triggers:
            wakes.setdefault(trigger, []).append(number)
    return tuple(
        (trigger.literal, re.compile(re.escape(trigger.literal) + trigger.rest, re.ASCII), tuple(rules))
        for trigger, rules in wakes.items()
    )


_TRIGGERS: Final = _trigger_table()


def _lower(text: str) -> str:
    """Lower case of the same length; U+0130 is the one character whose lower case is longer."""
    low = text.lower()
    return low if len(low) == len(text) else text.replace("\u0130", "I").lower()


def _wanted(text: str, low: str | None = None) -> tuple[dict[int, int], dict[int, list[int]]]:
    """The lines that hold a trigger, as start → end, and for each rule the starts of the lines to try it on.

    `low` is the text in lower case where the caller has it.
    """
    low = _lower(text) if low is None else low
    ends: dict[int, int] = {}
    starts_of: dict[int, list[int]] = {}
    for literal, pattern, rules in _TRIGGERS:
        if literal and literal not in low:
            continue
        found = list(_lines_with(pattern, low, ends))
        for rule in rules if found else ():
            starts_of.setdefault(rule, []).extend(found)
    return ends, starts_of


def _lines_with(pattern: re.Pattern[str], low: str, ends: dict[int, int]) -> Iterable[int]:
    """The start of every line in which the pattern is found; notes its end."""
    hit = pattern.search(low)
    while hit:
        start = low.rfind("\n", 0, hit.start()) + 1
        end = low.find("\n", hit.end())
        ends[start] = end if end >= 0 else len(low)
        yield start
        hit = pattern.search(low, end) if end >= 0 else None


class Redactor:
    """Replaces secrets and subscriber identities; one for all sources, a `RedactionState` for each.

    `patterns` are tried first, each line by line and in their order, so they see the line as it came. With a
    `pseudonym_key` the same identity becomes the same `<imsi:1a2b3c4d>` wherever it occurs.
    """

    def __init__(self, patterns: Sequence[RedactionPattern] = (), pseudonym_key: bytes | None = None) -> None:
        self._own = tuple((own.name, _own_pattern(own)) for own in patterns)
        self._key = pseudonym_key or None

    @classmethod
    def from_settings(cls, settings: RedactionSettings) -> Redactor:
        """As serving and training both need it: they must see the same text."""
        key = settings.pseudonym_key
        return cls(
            [RedactionPattern(own.name, own.pattern) for own in settings.patterns],
            key.get_secret_value().encode() if key else None,
        )

    def __repr__(self) -> str:
        return f"Redactor({len(self._own)} own patterns, {'with' if self._key else 'no'} pseudonyms)"

    def start(self) -> RedactionState:
        """The state of a source whose first line is still to come."""
        return RedactionState()

    def lines(self, text: str, state: RedactionState) -> str:
        """Redacts whole lines joined by newlines and gives as many lines back.

        Cutting a source's lines into other batches gives the same text; redacting twice changes nothing.
        """
        low = _lower(text)
        seen = text
        if state.open or "private key" in low or _is_title(low):
            text = _blocks(text, state)
        for name, pattern in self._own:
            text = self._own_lines(name, pattern, text, state)
        return self._table(text, state, _PASSES, low if text == seen else None)

    def text(self, value: str) -> str:
        """Redacts a run id, header value or file name on its own."""
        return self.lines(value, RedactionState())

    def _table(self, text: str, state: RedactionState, passes: int, low: str | None = None) -> str:
        """Runs the table over the lines with triggers, and over what it changed until nothing changes."""
        ends, starts_of = _wanted(text, low)
        if not ends:
            return text
        now = {start: text[start:end] for start, end in ends.items()}
        for number in sorted(starts_of):
            self._apply(_COMPILED[number], now, sorted(set(starts_of[number])), state)
        changed = sorted(start for start, end in ends.items() if now[start] != text[start:end])
        if not changed:
            return text
        if passes > 1:
            again = self._table("\n".join(now[start] for start in changed), state, passes - 1)
            now.update(zip(changed, again.split("\n"), strict=True))
        return _spliced(text, ((start, ends[start], now[start]) for start in changed))

    def _apply(self, compiled: _Compiled, now: dict[int, str], starts: list[int], state: RedactionState) -> None:
        """One rule over the lines it was woken for, in one call."""
        before = "\n".join([now[start] for start in starts])
        after = compiled.pattern.sub(self._replacement(compiled, state), before)
        if after != before:
            now.update(zip(starts, after.split("\n"), strict=True))

    def _replacement(self, compiled: _Compiled, state: RedactionState) -> Callable[[re.Match[str]], str]:
        kind, group = compiled.rule.kind, "v" if compiled.grouped else 0

        def replace(match: re.Match[str]) -> str:
            value = match[group]
            if value is None:
                return self._counted(kind, match[0], state)
            first, last = match.start(group) - match.start(), match.end(group) - match.start()
            return match[0][:first] + self._counted(kind, value, state) + match[0][last:]

        return replace

    def _counted(self, kind: str, value: str, state: RedactionState) -> str:
        state.count(kind)
        if self._key is None or kind not in IDENTITIES:
            return f"<{kind}>"
        identity = _canonical(kind, value)
        digest = hmac.new(self._key, (kind + identity).encode("utf-8", "replace"), hashlib.sha256)
        return f"<{kind}:{digest.hexdigest()[:8]}>"

    def _own_lines(self, name: str, pattern: re.Pattern[str], text: str, state: RedactionState) -> str:
        """One own pattern over each line by itself, since it may match line ends too."""
        group = "secret" if "secret" in pattern.groupindex else 0

        def replace(match: re.Match[str]) -> str:
            value = match[group]
            if not value or _in_marker(match.string, *match.span(group)):
                return match[0]
            state.count(name)
            first, last = match.start(group) - match.start(), match.end(group) - match.start()
            return f"{match[0][:first]}<{name}>{match[0][last:]}"

        return "\n".join([pattern.sub(replace, line) for line in text.split("\n")])


def _blocks(text: str, state: RedactionState) -> str:
    """Replaces private keys and dumps of keys that go over several lines."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        new = _key_line(line, state) if state.key_lines else _begun(line, state) if "PRIVATE KEY" in line else line
        dump = _HEX_DUMP.search(new, max(0, len(new) - _MOST_DUMP)) if state.dump_left else None
        if dump is not None:
            state.dump_left -= 1
            state.count("key")
            new = new[: dump.start()] + "<key>" + new[dump.end() :]
        else:
            state.dump_left = _MOST_DUMP_LINES if _is_title(_lower(new)) else 0
        lines[number] = new
    return "\n".join(lines)


def _is_title(low: str) -> bool:
    """Whether a lower-case line, or one of several, ends with the name of a key whose bytes may follow."""
    return bool(_DUMP_TITLE.search(low) or ("op" in low and _DUMP_TITLE_OP.search(low)))


def _spliced(text: str, parts: Iterable[tuple[int, int, str]]) -> str:
    """The text with some stretches replaced, given in order."""
    pieces: list[str] = []
    done = 0
    for start, end, new in parts:
        pieces += (text[done:start], new)
        done = end
    return "".join([*pieces, text[done:]])


def _canonical(kind: str, value: str) -> str:
    """The identity without its spelling, so that every form of one subscriber gets one pseudonym."""
    if kind == "email":
        return value.lower()
    if kind == "imsi" and value.startswith("0-") and value.count("-") == 6:
        _, country, network, _, scheme, _, number = value.split("-")
        if scheme == "0":
            return country + network + number
    digits = re.sub(r"[^0-9a-zA-Z]", "", value)
    return digits.lower() or value


def _in_marker(line: str, start: int, end: int) -> bool:
    """Whether a stretch lies within a marker or cuts into one, which would damage it."""
    for marker in re.finditer(_MARKER, line):
        if marker.start() < end and start < marker.end() and not (start < marker.start() and marker.end() < end):
            return True
    return False


def _own_pattern(own: RedactionPattern) -> re.Pattern[str]:
    """Compiles a user's pattern or says what is wrong with it."""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", own.name):
        raise SettingsError(f"redaction pattern {own.name!r}: name it with a-z, 0-9 and hyphens, starting with a letter")
    try:
        pattern = re.compile(own.pattern)
    except re.error as error:
        raise SettingsError(
            f"redaction pattern {own.name!r} is not a regular expression ({error}); correct or remove it"
        ) from None
    if pattern.search("") is not None:
        raise SettingsError(f"redaction pattern {own.name!r} matches the empty string; make it ask for a character")
    return pattern


def _shape(prefix: str) -> str:
    """What stands left of a key's line, blind to its digits, for comparing with the next line's."""
    return re.sub(r"[0-9]+", "0", prefix[-_MOST_PREFIX:])


def _begun(line: str, state: RedactionState) -> str:
    """Replaces whole keys in a line outside a key, and opens the state at one that does not end there."""
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
        last_end = 0  # none will follow
        done = inline.end() if inline else begin.end()
        state.key_lines, state.strange, state.ending = 1, 0, False
        state.prefix = _shape(line[: begin.start()])
    return "".join([*pieces, line[done:]])


def _key_line(line: str, state: RedactionState) -> str:
    """One line after BEGIN: its key material replaced, or the line as it is when it holds none."""
    begin, end = _PEM_BEGIN.search(line), _PEM_END.search(line)
    if begin is not None and (end is None or begin.start() < end.start()):
        state.key_lines = 0
        return _begun(line, state)
    if end is not None:
        state.key_lines = 0
        state.count("private-key")
        return line[: _material_start(line[: end.start()])] + "<private-key>" + _begun(line[end.end() :], state)
    if state.key_lines >= _MOST_KEY_LINES:
        state.key_lines = 0
        return line
    state.key_lines += 1
    body = line.rstrip(" \t\r\"'`,;\\")
    if body.endswith(("\\n", "\\r")):
        body = body[:-2]
    start = _material_start(body)
    if _is_material(body, start, state):
        state.strange = 0
        state.prefix = _shape(line[:start])
        state.count("private-key")
        return line[:start] + "<private-key>" + line[len(body) :]
    state.strange += 1
    if state.strange >= _MOST_STRANGE_LINES:
        state.key_lines = 0
    return line


def _material_start(body: str) -> int:
    """Where the last word of a line starts; key material holds none of these."""
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
    last_line = not state.ending
    state.ending = True
    return last_line or word.startswith("=")


# Makes the examples of the table doctests.
__test__: Final = {
    rule.name: "\n".join(f">>> Redactor().text({before!r})\n{after!r}" for before, after in rule.examples) for rule in RULES
}
