"""The name of a kind of value and its arguments in, an invented value out, drawn from a seeded generator.

Three tables say what there is: `ALPHABETS` (so many characters of one alphabet), `FORMS` (compositions of other values) and
`MAKERS` (what needs code).
"""

import base64
import random
import re
import string
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["PREFIXED", "Values"]

_ALPHANUMERIC: Final = string.ascii_letters + string.digits

ALPHABETS: Final[Mapping[str, str]] = {
    "hex": "0123456789abcdef",
    "HEX": "0123456789ABCDEF",
    "bits": "01",
    "d": string.digits,
    "an": _ALPHANUMERIC,
    "AN": string.ascii_uppercase + string.digits,
    "lan": string.ascii_lowercase + string.digits,
    "b32": "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
    "b64n": _ALPHANUMERIC + "+/",
    "b64u": _ALPHANUMERIC + "-_",
    "crypt": _ALPHANUMERIC + "./",
}

PREFIXED: Final = frozenset(f"{name}p" for name in ALPHABETS)
"""`anp:ghp_:36` is `ghp_` and 36 characters of `an`. The prefix is public knowledge, so it may stay or go."""

FORMS: Final[Mapping[str, str]] = {
    "uuid": "{hex:8}-{hex:4}-4{hex:3}-a{hex:3}-{hex:12}",
    "slack": "{digits:12}-{digits:12}-{an:24}",
    "slackhook": "T{AN:8}/B{AN:8}/{an:24}",
    "telegram": "{digits:10}:AA{an:33}",
    "azure": "{an:3}8Q~{an:34}",
    "sasig": "{an:20}%2B{an:21}%3D",
    "sendgrid": "SG.{an:22}.{an:43}",
    "tfc": "{an:14}.atlasv1.{an:64}",
    "postman": "{hex:24}-{hex:34}",
    "msisdn": "{pick:491|336|447|1555|8190|3468|4670|8613|9198|6141|5511}{d:8}",
    "phone": "+{msisdn}",
    "email": "{word}.{word}@{pick:example.org|lab.example.com|mail.example.net|telco.example}",
    "host": "{word}{int:1:19}.lab.example",
    "ip": "10.{int:0:255}.{int:0:255}.{int:1:254}",
    "ipv6": "fe80::{hex:4}:{hex:4}:{hex:4}:{hex:4}",
    "mac": "{hex:2}:{hex:2}:{hex:2}:{hex:2}:{hex:2}:{hex:2}",
    "sha": "{hex:7}",
    "epoch": "1764{d:6}",
    "us": "1764{d:12}",
    "word2": "{word}{pick:|-lab|_ro|1|07|42}",
    "user": "{pick:admin|root|ci|deploy|jenkins|labuser|operator|svc-test|tester|grafana|backup|robot|m.keller|anna|jlee}",
    "word": (
        "{pick:amber|anchor|apollo|atlas|beacon|birch|bravo|cedar|cobalt|comet|copper|coral|delta|ember|falcon|fjord|garnet"
        "|harbor|indigo|iris|jasper|juniper|kestrel|lagoon|lotus|maple|mercury|nimbus|onyx|orchid|osprey|pebble|quartz|raven"
        "|river|saffron|sierra|tango|timber|topaz|tundra|violet|walnut|willow|zephyr}"
    ),
    # Passwords, for before and between other words, between quotes, in JSON, in XML and in URLs.
    "pass": "{password:!#@%+^*_-.}",
    "passq": "{phrase:!#@%+^*_-.()&;,}",
    "passj": "{password:!#@%+^*_-.()&;,}",
    "passx": "{password:!#@%+^*_-.()}",
    "passurl": "{password:_-.!*}",
}

_PART: Final = re.compile(r"\{(\w+)(?::([^{}]*))?\}")
_NETWORKS: Final = "00101 00102 99970 90170 20893 26201 310410 46000 45005 24008 31120 73402"
_LIVE_NETWORKS: Final = "20893 26201 310410 46000 45005 24008 31120 73402 310260 23415 52505 72406"
_COUNTRIES: Final = "208 262 310 460 450 240 311 734 234 525 724 204 302 404 515 602"


class Values:
    """Draws values for one log. Times go forward from call to call, and the codes of the log's card stay the same."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._milliseconds = rng.randrange(0, 86_000_000)
        self._codes: dict[str, str] = {}

    def make(self, name: str, argument: str = "") -> str:
        """A value of the kind `name`.

        Raises:
            ValueError: There is no such kind.
        """
        if name in ALPHABETS:
            return "".join(self.rng.choices(ALPHABETS[name], k=int(argument)))
        if name in PREFIXED:
            prefix, count = argument.rsplit(":", 1)
            return prefix + self.make(name[:-1], count)
        if name in FORMS:
            return _PART.sub(lambda part: self.make(part[1], part[2] or ""), FORMS[name])
        if name not in MAKERS:
            raise ValueError(f"no kind of value is called {name!r}; see the tables in {__name__}")
        return MAKERS[name](self, argument)

    def clock(self) -> tuple[int, int, int, int]:
        """Hour, minute, second, millisecond, later than last time."""
        self._milliseconds += self.rng.randrange(1, 900)
        seconds, milliseconds = divmod(self._milliseconds, 1000)
        return seconds // 3600 % 24, seconds // 60 % 60, seconds % 60, milliseconds

    def code(self, name: str, digits: int) -> str:
        """A code of the card, the same one for every call."""
        return self._codes.setdefault(name, self.make("digits", str(digits)))


def _base64(values: Values, count: str) -> str:
    """So many characters, of which one or two are padding."""
    return base64.b64encode(values.rng.randbytes(int(count) // 4 * 3 - values.rng.choice((1, 2)))).decode()


def _bytes(values: Values, argument: str) -> str:
    r"""`16:SEPARATOR[:U]`; the separators `0xc` and `\x` give the bytes of a program."""
    count, rest = argument.split(":", 1)
    digits = "HEX" if rest.endswith(":U") else "hex"
    pairs = [values.make(digits, "2") for _ in range(int(count))]
    separator = rest.removesuffix(":U")
    if separator == "0xc":
        return ", ".join(f"0x{pair}" for pair in pairs)
    return "".join(f"\\x{pair}" for pair in pairs) if separator == "\\x" else separator.join(pairs)


def _words(values: Values, argument: str) -> str:
    """`4:8:SEPARATOR[:U]`: four words of eight hex digits."""
    count, length, rest = argument.split(":", 2)
    digits = "HEX" if rest.endswith(":U") else "hex"
    return rest.removesuffix(":U").join(values.make(digits, length) for _ in range(int(count)))


def _password(values: Values, signs: str) -> str:
    """A password with some of the signs: a word and a number, random characters, or two words."""
    rng, word = values.rng, values.make("word")
    style = rng.randrange(5)
    if style == 0:
        return f"{word.capitalize()}{rng.randrange(10, 9999)}{rng.choice(signs)}"
    if style == 1:
        return values.make("an", str(rng.randrange(8, 17)))
    if style == 2:
        body = list(values.make("an", str(rng.randrange(7, 13))) + rng.choice(signs) + rng.choice(signs))
        rng.shuffle(body)
        return f"{rng.choice(string.ascii_letters)}{''.join(body)}{rng.choice(_ALPHANUMERIC)}"
    if style == 3:
        return f"{word}{rng.choice('-_.')}{values.make('word')}{rng.randrange(1, 100)}"
    return f"{word[:3]}{rng.choice('@#_' if '@' in signs else '_-')}{values.make('an', '6')}"


def _phrase(values: Values, signs: str) -> str:
    """A password or, at times, words with spaces."""
    if values.rng.random() < 0.15:
        return f"{values.make('word')} {values.make('word')} {values.make('word')}{values.rng.randrange(10)}"
    return _password(values, signs)


def _jwt(values: Values, _: str) -> str:
    claims = f'{{"sub":"{values.make("word")}","iat":{values.make("epoch")},"exp":{values.make("epoch")}}}'
    encoded = (base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in ('{"alg":"HS256"}', claims))
    return ".".join((*encoded, values.make("b64u", "43")))


def _serial(values: Values, count: str) -> str:
    """Digits as labs number their subscribers: often with zeros in front."""
    if values.rng.random() < 0.5:
        return f"{values.rng.randrange(1, 9_999):0{int(count)}}"
    return values.make("d", count)


def _imsi(values: Values, _: str) -> str:
    network = values.rng.choice(_NETWORKS.split())
    return network + _serial(values, str(15 - len(network)))


def _live_imsi(values: Values, _: str) -> str:
    """An IMSI of a network for the public."""
    network = values.rng.choice(_LIVE_NETWORKS.split())
    return network + _serial(values, str(15 - len(network)))


def _imei(values: Values, _: str) -> str:
    digits = values.rng.choice(("35", "86", "01", "99")) + values.make("d", "12")
    doubled = (sum(divmod(int(digit) * (1 + at % 2), 10)) for at, digit in enumerate(digits))
    return digits + str(-sum(doubled) % 10)


def _iccid(values: Values, _: str) -> str:
    issuer = "89" + values.rng.choice(("49", "44", "88211", "01", "33"))
    return issuer + values.make("d", str(values.rng.choice((19, 20)) - len(issuer)))


def _swapped(digits: str, separator: str = "") -> str:
    """Digits as cards store them, two in a byte, the second one first."""
    return separator.join(digits[at + 1] + digits[at] for at in range(0, len(digits), 2))


def _ascii(code: str, form: str) -> str:
    """A code as the bytes that a card takes; the form `hex` has nothing between them."""
    return ("" if form == "hex" else form).join(f"{ord(digit):02X}" for digit in code)


def _int(values: Values, bounds: str) -> str:
    low, high = bounds.split(":")
    return str(values.rng.randint(int(low), int(high)))


def _time(pattern: str) -> Callable[[Values, str], str]:
    """Times of day in one notation, later from call to call."""
    return lambda values, _: pattern.format(*values.clock())


MAKERS: Final[Mapping[str, Callable[[Values, str], str]]] = {
    "digits": lambda values, count: values.rng.choice("123456789") + values.make("d", str(int(count) - 1)),
    "hexs": lambda values, argument: values.make("hex", argument.split(":")[0]) + argument.split(":")[1],
    "b64": _base64,
    "bytes": _bytes,
    "decbytes": lambda values, count: " ".join(str(byte) for byte in values.rng.randbytes(int(count))),
    "words": _words,
    "password": _password,
    "phrase": _phrase,
    "jwt": _jwt,
    "msin": lambda values, _: _serial(values, "10"),
    "imsi": _imsi,
    "live": _live_imsi,
    "labimsi": lambda values, _: values.rng.choice(("00101", "00102", "001001")).ljust(15, "0")[:-4] + values.make("d", "4"),
    # A number of 15 digits that begins as an IMSI does: what counters look like at worst.
    "mcc15": lambda values, _: values.rng.choice(_COUNTRIES.split()) + values.make("d", "12"),
    "imei": _imei,
    "imeisv": lambda values, _: _imei(values, "")[:14] + values.make("d", "2"),
    "imeidash": lambda values, _: re.sub(r"(\d{8})(\d{6})\d", r"\1-\2-0", _imei(values, "")),
    "imeidot": lambda values, _: ".".join(_imei(values, "")),
    "iccid": _iccid,
    "bcdimsi": lambda values, separator: _swapped("9" + _imsi(values, ""), separator),
    "bcdiccid": lambda values, _: _swapped(_iccid(values, "")[:19] + "F"),
    "adm": lambda values, form: _ascii(values.code("adm", 8), form),
    "pinhex": lambda values, form: _ascii(values.code("pin", 4), form),
    "pick": lambda values, choices: values.rng.choice(choices.split("|")),
    "int": _int,
    # A counter of 13 to 16 digits.
    "big": lambda values, _: values.make("digits", str(values.rng.randrange(13, 17))),
    "iso": _time("2025-11-24T{:02}:{:02}:{:02}.{:03}Z"),
    "time": _time("{:02}:{:02}:{:02}.{:03}"),
    "syslog": _time("Nov 24 {:02}:{:02}:{:02}"),
    "tm500": _time("24/11/25 {:02}:{:02}:{:02}:{:03}"),
}
