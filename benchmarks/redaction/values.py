"""The name of a kind of value and its arguments in, an invented value out, drawn from a seeded generator."""

import base64
import random
import string
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["PREFIXED", "Values"]

PREFIXED: Final = ("hexp", "anp", "lanp", "b32p", "b64up", "b64np")
"""Kinds of value that begin with their first argument. It is public knowledge (`ghp_`), so it may stay or go."""

_BASE64: Final = string.ascii_letters + string.digits + "+/"
_BASE64_URL: Final = string.ascii_letters + string.digits + "-_"
_ALPHANUMERIC: Final = string.ascii_letters + string.digits
_BASE32: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CRYPT: Final = string.ascii_letters + string.digits + "./"
_WORDS: Final = (
    "amber anchor apollo atlas beacon birch bravo cedar cobalt comet copper coral delta ember falcon fjord garnet harbor"
    " indigo iris jasper juniper kestrel lagoon lotus maple mercury nimbus onyx orchid osprey pebble quartz raven river"
    " saffron sierra tango timber topaz tundra violet walnut willow zephyr"
).split()
_USERS: Final = "admin root ci deploy jenkins labuser operator svc-test tester grafana backup robot m.keller anna jlee oam".split()
_NETWORKS: Final = ("00101", "00102", "99970", "90170", "20893", "26201", "310410", "46000", "45005", "24008", "31120", "73402")
_COUNTRIES: Final = ("491", "336", "447", "1555", "8190", "3468", "4670", "8613", "9198", "6141", "5511")


class Values:
    """Draws values for one log. Times go forward from call to call.

    `make` is the entry: `make("hex", "32")` gives 32 hex digits. Each public method is one kind of value; arguments are the
    strings between the colons of a placeholder.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._milliseconds = rng.randrange(0, 86_000_000)
        self._code: str | None = None
        self._pin: str | None = None

    def make(self, name: str, argument: str) -> str:
        """A value of the kind `name`.

        Raises:
            KeyError: There is no such kind.
        """
        maker: Callable[[str], str] | None = getattr(self, f"_{name}", None) if name.isalnum() else None
        if maker is None:
            raise KeyError(f"no kind of value is called {name!r}")
        return maker(argument)

    # Characters of one alphabet. The names with a trailing `p` take a fixed prefix first, see `PREFIXED`.

    def _chars(self, alphabet: Sequence[str], count: int) -> str:
        return "".join(self._rng.choices(alphabet, k=count))

    def _hex(self, count: str) -> str:
        return self._chars("0123456789abcdef", int(count))

    def _HEX(self, count: str) -> str:
        return self._hex(count).upper()

    def _hexp(self, argument: str) -> str:
        prefix, count = argument.rsplit(":", 1)
        return prefix + self._hex(count)

    def _hexs(self, argument: str) -> str:
        count, suffix = argument.split(":", 1)
        return self._hex(count) + suffix

    def _bits(self, count: str) -> str:
        return self._chars("01", int(count))

    def _digits(self, count: str) -> str:
        return self._rng.choice("123456789") + self._chars(string.digits, int(count) - 1)

    def _an(self, count: str) -> str:
        return self._chars(_ALPHANUMERIC, int(count))

    def _AN(self, count: str) -> str:
        return self._chars(string.ascii_uppercase + string.digits, int(count))

    def _lan(self, count: str) -> str:
        return self._chars(string.ascii_lowercase + string.digits, int(count))

    def _anp(self, argument: str) -> str:
        prefix, count = argument.rsplit(":", 1)
        return prefix + self._an(count)

    def _lanp(self, argument: str) -> str:
        prefix, count = argument.rsplit(":", 1)
        return prefix + self._lan(count)

    def _b32(self, count: str) -> str:
        return self._chars(_BASE32, int(count))

    def _b32p(self, argument: str) -> str:
        prefix, count = argument.rsplit(":", 1)
        return prefix + self._b32(count)

    def _b64u(self, count: str) -> str:
        return self._an("2") + self._chars(_BASE64_URL, int(count) - 4) + self._an("2")

    def _b64up(self, argument: str) -> str:
        prefix, count = argument.rsplit(":", 1)
        return prefix + self._b64u(count)

    def _b64n(self, count: str) -> str:
        """Base64 without padding."""
        return self._chars(_BASE64, int(count))

    def _b64np(self, argument: str) -> str:
        prefix, count = argument.rsplit(":", 1)
        return prefix + self._b64n(count)

    def _b64(self, count: str) -> str:
        """Base64 of so many characters, padding included where the bytes need it."""
        length = int(count)
        unpadded = length // 4 * 3 - self._rng.choice((1, 2))
        return base64.b64encode(self._rng.randbytes(unpadded)).decode()

    def _bytes(self, argument: str) -> str:
        """`16:SEPARATOR[:U]`; the separators `0xc` and `\\x` give the bytes of a program."""
        count, rest = argument.split(":", 1)
        upper = rest.endswith(":U")
        separator = rest.removesuffix(":U")
        pairs = [f"{byte:02X}" if upper else f"{byte:02x}" for byte in self._rng.randbytes(int(count))]
        return _joined(pairs, separator)

    def _decbytes(self, count: str) -> str:
        return " ".join(str(byte) for byte in self._rng.randbytes(int(count)))

    def _words(self, argument: str) -> str:
        """`4:8:SEPARATOR[:U]`: four words of eight hex digits."""
        words, digits, rest = argument.split(":", 2)
        text = rest.removesuffix(":U").join(self._hex(digits) for _ in range(int(words)))
        return text.upper() if rest.endswith(":U") else text

    # Passwords. Unquoted ones have no character that ends a word in a shell, a query or a list.

    def _password(self, signs: str) -> str:
        rng = self._rng
        style = rng.randrange(5)
        word = rng.choice(_WORDS)
        if style == 0:
            return word.capitalize() + str(rng.randrange(10, 9999)) + rng.choice(signs)
        if style == 1:
            return self._chars(_ALPHANUMERIC, rng.randrange(8, 17))
        if style == 2:
            body = list(self._chars(_ALPHANUMERIC, rng.randrange(7, 13)) + rng.choice(signs) + rng.choice(signs))
            rng.shuffle(body)
            return rng.choice(string.ascii_letters) + "".join(body) + rng.choice(_ALPHANUMERIC)
        if style == 3:
            return word + rng.choice("-_.") + rng.choice(_WORDS) + str(rng.randrange(1, 100))
        return word[:3] + rng.choice(("@", "#", "_") if "@" in signs else ("_", "-")) + self._an("6")

    def _pass(self, _: str) -> str:
        return self._password("!#@%+^*_-.")

    def _passq(self, _: str) -> str:
        """For between quotes: some have spaces and brackets."""
        if self._rng.random() < 0.15:
            return " ".join(self._rng.sample(_WORDS, 3)) + str(self._rng.randrange(10))
        return self._password("!#@%+^*_-.()&;,")

    def _passj(self, _: str) -> str:
        return self._password("!#@%+^*_-.()&;,")

    def _passx(self, _: str) -> str:
        return self._password("!#@%+^*_-.()")

    def _passurl(self, _: str) -> str:
        return self._password("_-.!*")

    def _word2(self, _: str) -> str:
        """A community: a word or two, hardly ever a strong password."""
        return self._rng.choice(_WORDS) + self._rng.choice(("", "", str(self._rng.randrange(1, 99)), "-lab", "_ro"))

    # Tokens that services give out.

    def _uuid(self, _: str) -> str:
        digits = self._hex("32")
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def _jwt(self, _: str) -> str:
        header = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
        claims = f'{{"sub":"{self._word("")}","iat":{self._epoch("")},"exp":{self._epoch("")}}}'.encode()
        return f"{header}.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.{self._b64u('43')}"

    def _slack(self, _: str) -> str:
        return f"{self._digits('12')}-{self._digits('12')}-{self._an('24')}"

    def _slackhook(self, _: str) -> str:
        return f"T{self._AN('8')}/B{self._AN('8')}/{self._an('24')}"

    def _telegram(self, _: str) -> str:
        return f"{self._digits('10')}:AA{self._b64u('33')}"

    def _azure(self, _: str) -> str:
        return f"{self._an('3')}8Q~{self._b64u('34')}"

    def _sasig(self, _: str) -> str:
        return self._an("42").replace("x", "%2B", 1) + "%3D"

    def _sendgrid(self, _: str) -> str:
        return f"SG.{self._b64u('22')}.{self._b64u('43')}"

    def _tfc(self, _: str) -> str:
        return f"{self._an('14')}.atlasv1.{self._an('64')}"

    def _postman(self, _: str) -> str:
        return f"{self._hex('24')}-{self._hex('34')}"

    def _crypt(self, count: str) -> str:
        return self._chars(_CRYPT, int(count))

    # Subscribers and devices.

    def _imsi(self, _: str) -> str:
        network = self._rng.choice(_NETWORKS)
        return network + self._serial(15 - len(network))

    def _serial(self, count: int) -> str:
        """Digits as labs number their subscribers: often zeros in front."""
        if self._rng.random() < 0.5:
            return f"{self._rng.randrange(1, 9_999):0{count}}"
        return self._chars(string.digits, count)

    def _msin(self, _: str) -> str:
        return self._serial(10)

    def _bcdimsi(self, separator: str) -> str:
        digits = "9" + self._imsi("")
        return separator.join(digits[at + 1] + digits[at] for at in range(0, 16, 2))

    def _bcdiccid(self, _: str) -> str:
        digits = self._iccid("")[:19] + "F"
        return "".join(digits[at + 1] + digits[at] for at in range(0, 20, 2))

    def _imei(self, _: str) -> str:
        digits = self._rng.choice(("35", "86", "01", "99")) + self._chars(string.digits, 12)
        return digits + str(-sum(_luhn(digits)) % 10)

    def _imeisv(self, _: str) -> str:
        return self._imei("")[:14] + self._chars(string.digits, 2)

    def _imeidash(self, _: str) -> str:
        digits = self._imei("")
        return f"{digits[:8]}-{digits[8:14]}-0"

    def _imeidot(self, _: str) -> str:
        return ".".join(self._imei(""))

    def _iccid(self, _: str) -> str:
        issuer = "89" + self._rng.choice(("49", "44", "88211", "01", "33"))
        return issuer + self._chars(string.digits, self._rng.choice((19, 20)) - len(issuer))

    def _msisdn(self, _: str) -> str:
        return self._rng.choice(_COUNTRIES) + self._chars(string.digits, 8)

    def _phone(self, _: str) -> str:
        return "+" + self._msisdn("")

    def _adm(self, form: str) -> str:
        """Eight digits as the ASCII bytes that a card takes; the same ones for every call."""
        self._code = self._code or self._digits("8")
        separator = "" if form == "hex" else form
        return separator.join(f"{ord(digit):02X}" for digit in self._code)

    def _pinhex(self, separator: str) -> str:
        self._pin = self._pin or self._digits("4")
        return separator.join(f"{ord(digit):02X}" for digit in self._pin)

    def _email(self, _: str) -> str:
        domain = self._rng.choice(("example.org", "lab.example.com", "mail.example.net", "telco.example"))
        return f"{self._rng.choice(_WORDS)}.{self._rng.choice(_WORDS)}@{domain}"

    # What surrounds them.

    def _pick(self, choices: str) -> str:
        return self._rng.choice(choices.split("|"))

    def _int(self, bounds: str) -> str:
        low, high = bounds.split(":")
        return str(self._rng.randint(int(low), int(high)))

    def _word(self, _: str) -> str:
        return self._rng.choice(_WORDS)

    def _user(self, _: str) -> str:
        return self._rng.choice(_USERS)

    def _host(self, _: str) -> str:
        return f"{self._rng.choice(_WORDS)}{self._rng.randrange(1, 20)}.lab.example"

    def _ip(self, _: str) -> str:
        return f"10.{self._rng.randrange(256)}.{self._rng.randrange(256)}.{self._rng.randrange(1, 255)}"

    def _ipv6(self, _: str) -> str:
        return f"fe80::{self._hex('4')}:{self._hex('4')}:{self._hex('4')}:{self._hex('4')}"

    def _mac(self, _: str) -> str:
        return ":".join(f"{byte:02x}" for byte in self._rng.randbytes(6))

    def _sha(self, _: str) -> str:
        return self._hex("7")

    def _epoch(self, _: str) -> str:
        return str(1_764_000_000 + self._rng.randrange(1_000_000))

    def _us(self, _: str) -> str:
        return f"{self._epoch('')}{self._chars(string.digits, 6)}"

    def _big(self, _: str) -> str:
        """A counter of 13 to 16 digits."""
        return self._digits(str(self._rng.randrange(13, 17)))

    def _clock(self) -> tuple[int, int, int, int]:
        self._milliseconds += self._rng.randrange(1, 900)
        seconds, milliseconds = divmod(self._milliseconds, 1000)
        return seconds // 3600 % 24, seconds // 60 % 60, seconds % 60, milliseconds

    def _iso(self, _: str) -> str:
        hour, minute, second, milliseconds = self._clock()
        return f"2025-11-24T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z"

    def _time(self, _: str) -> str:
        hour, minute, second, milliseconds = self._clock()
        return f"{hour:02}:{minute:02}:{second:02}.{milliseconds:03}"

    def _syslog(self, _: str) -> str:
        hour, minute, second, _milliseconds = self._clock()
        return f"Nov 24 {hour:02}:{minute:02}:{second:02}"

    def _tm500(self, _: str) -> str:
        hour, minute, second, milliseconds = self._clock()
        return f"24/11/25 {hour:02}:{minute:02}:{second:02}:{milliseconds:03}"


def _joined(pairs: Sequence[str], separator: str) -> str:
    if separator == "0xc":
        return ", ".join(f"0x{pair}" for pair in pairs)
    if separator == "\\x":
        return "".join(f"\\x{pair}" for pair in pairs)
    return separator.join(pairs)


def _luhn(digits: str) -> list[int]:
    """The summands of the check digit that follows an even number of digits."""
    return [sum(divmod(int(digit) * (1 + at % 2), 10)) for at, digit in enumerate(digits)]
