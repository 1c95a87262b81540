"""What stands behind a name in, whether it looks like a secret out: not a stand-in, a piece of code, a path, or prose."""

import re
from itertools import pairwise
from typing import Final

__all__ = ["is_code", "is_path", "is_prose", "is_stand_in", "is_strong", "looks_random"]

_STAND_IN: Final = re.compile(
    r"(?:null|nil|none|true|false|undefined|yes|no|on|off|n/a|string|str|char|bytes|object|int|integer|bool|boolean|any|text|number"
    r"|required|optional|must|should|is|are|was|not|cannot|can|invalid|incorrect|wrong|missing|empty|expired|unset|set|and|or|the"
    r"|for|to|from|in|with|has|hidden|masked|redacted|removed|filtered|secure|default|enabled|disabled|password|passwd|passphrase"
    r"|pass|pwd|secret|token|key|value|username|user|credentials?|file|env|stdin|prompt|ask|auto|placeholder|todo|dummy|void"
    r"|accepted|rejected|ok|failed|failure|success|valid|unknown|unavailable|found|denied|changed|updated|bearer|basic|digest"
    r"|[*•·●]+|[*x•]{3,64}[a-z0-9]{0,4}|\.{2,64}|…|-+|_+|\?+|=+|#|<[^<>\n]{0,64}>?|\[[^\[\]\n]{0,40}\]?|\([^()\n]{0,40}\)?"
    r"|[$%@#]?\$?\{[^{}\n]{0,128}\}{1,2}|\$\{.*|\$\(.*|\$[({]?[a-z_][a-z0-9_.:]*[)}]?|%[a-z_]{1,40}%?|%\([a-z_]+\)[a-z]"
    r"|\{[a-z0-9_.!:]*\}|\{\{.*|#\{.*|<%.*|@[a-z_.]+@|__[a-z0-9_]+__|![a-z]+|[ ]+"
    r"|(?:your|my|the|some|insert|enter|example|sample|test|fake|dummy)[ _-](?:own[ _-])?[a-z_ -]{0,24}(?:password"
    r"|secret|token|key|here|value)"
    r"|change[_-]?(?:me|it)|your.{0,24})",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_CHAIN: Final = re.compile(r"[A-Za-z_$][A-Za-z_$]*[0-9]?(?:(?:\??\.|::|->)[A-Za-z_$][A-Za-z0-9_$]*)+\??!?", re.ASCII)
_OBJECT: Final = re.compile(r"(?:[A-Za-z_$]+\.)*[A-Za-z_$]+(?:@[0-9a-f]{4,16}|\{[0-9a-f]{4,8}|/[0-9]{1,5}:?)", re.ASCII)
_ROOT: Final = re.compile(
    r"(?:self|this|os|process|config|cfg|conf|args|opts?|options|env|request|req|ctx|context|settings|params|props|state|data|user|form"
    r"|module|var|local|secrets|vars|steps|inputs|github|system|sys|app|client|session|response|res|result|event|node|lexer|parser)"
    r"(?:\??\.|::|->|$)",
    re.IGNORECASE | re.ASCII,
)
_CALL: Final = re.compile(
    r"(?:&|\*|await |new |await|not )?[A-Za-z_$][A-Za-z0-9_$.:>-]*(?:<[^<>\n]{0,64}>)?[(\[{]", re.ASCII
)
_CODE_WORD: Final = re.compile(
    r"(?:new|await|async|function|lambda|return|if|not|self|this|typeof|yield|func|def|let|var|const|case|struct|enum)(?![A-Za-z0-9_-])",
    re.ASCII,
)
_ENVIRONMENT_NAME: Final = re.compile(r"[A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z]", re.ASCII)
_TYPE: Final = re.compile(
    r"(?:[A-Z][a-z]+)?(?:String|Str|Bytes|Secret|Option|Optional|Vec|List|Map|Type|Any|Token|Key)\b(?:[<\[?].*)?", re.ASCII
)
_PATH: Final = re.compile(r"(?:~|\.{1,2})?[/\\](?![+/=])|[A-Za-z]:[\\/]|[A-Za-z][A-Za-z0-9+.-]{1,15}://|file:", re.ASCII)
_CAMEL: Final = re.compile(r"[a-z]*(?:[A-Z]+[a-z]{2,})+[A-Z]*", re.ASCII)
_SEGMENT: Final = re.compile(r"[A-Za-z0-9]+", re.ASCII)


def is_stand_in(value: str) -> bool:
    """Whether a value stands for one, or for none: `null`, `***`, `${NAME}`, `<your token>`.

    >>> [value for value in ("null", "***", "${X}", "<token>", "hunter2", "abc") if is_stand_in(value)]
    ['null', '***', '${X}', '<token>']
    """
    return _STAND_IN.fullmatch(value) is not None and not (len(value) >= 24 and looks_random(value))


def is_code(value: str, after: str, name: str) -> bool:
    """Whether an unquoted value is an expression, a type, a path or the name of a variable.

    Args:
        value: The word itself.
        after: What follows it on the line.
        name: The name that it is assigned to.
    """
    text = value + after[:80]
    return bool(
        _CODE_WORD.match(text)
        or (_CHAIN.fullmatch(value) and (not any(sign.isdigit() for sign in value) or _ROOT.match(value)))
        or _OBJECT.fullmatch(value)
        or (_CALL.match(text) and any(sign in text for sign in ")]}"))
        or _ENVIRONMENT_NAME.fullmatch(value)
        or _TYPE.fullmatch(value)
        or is_path(value)
        or value.lower().strip("_") == name.lower().strip("_-")
    )


def is_path(value: str) -> bool:
    """Whether a value is the path of a file or an address, which is not secret itself."""
    return bool(_PATH.match(value)) and not (
        value[0] == "/" and "." not in value and looks_random(value[1:].replace("/", ""))
    )


def is_prose(value: str, after: str) -> bool:
    """Whether an unquoted value is the first of several words, or what became of the secret.

    >>> is_prose("must", " be longer"), is_prose("hunter2", " -v"), is_prose("expired", "")
    (True, False, True)
    """
    if not re.fullmatch(r"[A-Za-z]+(?:['-][A-Za-z]+)*[,.:;!?]?", value):
        return False
    return bool(re.match(r"[ \t]+[A-Za-z(=]", after)) or bool(re.fullmatch(r"[a-z]+(?:ed|ing)", value))


def looks_random(value: str) -> bool:
    """Whether a value of 16 or more characters looks drawn at random: digits and letters take turns in one of its words.

    >>> looks_random("iN0NgwM0j0BZacMjPrOQ"), looks_random("my-app-20240101-release"), looks_random("e3b0c44298fc1c14")
    (True, False, True)
    """
    for segment in _SEGMENT.findall(value):
        if len(segment) >= 12:
            kinds = ["d" if sign.isdigit() else "u" if sign.isupper() else "l" for sign in segment]
            turns = sum(a != b for a, b in pairwise(kinds))
            if "d" in kinds and turns >= max(3, len(segment) // 6):
                return True
            if (
                len(segment) >= 24
                and {"u", "l"} <= set(kinds)
                and turns >= len(segment) // 3
                and not _CAMEL.fullmatch(segment)
            ):
                return True
    return False


_TECHNICAL: Final = re.compile(
    r"(?:utf|sha|md|base|x|amd|arm|i|python|py|node|java|jdk|jre|ipv|http|oauth|v|version|rc|tls|tlsv|ssl|sslv|rsa|aes|ed|win|es|h|mp|oct"
    r"|des|step|test|case|phase|level|line|port|page|retry|attempt|try|ue|gnb|enb|cell|part|round|stage|no|nr)[-_.]?[0-9][0-9a-z._-]{0,12}"
    r"|[0-9.,]+[a-z%]{0,3}|[0-9]+(?:st|nd|rd|th)",
    re.IGNORECASE | re.ASCII,
)


_MIXED: Final = re.compile(r"[a-z_][A-Z]{2,}|[A-Z]{2,}[a-z]+[A-Z]|_[a-z][A-Z][a-z][A-Z]", re.ASCII)


def is_strong(value: str) -> bool:
    """Whether a word without a name looks like a password: letters with digits or signs, and no technical term.

    >>> [word for word in ("hunter2", "Tr0ub4dor", "reset", "sha256", "3rd", "1.2.3") if is_strong(word)]
    ['hunter2', 'Tr0ub4dor']
    """
    if len(value) < 6 or _TECHNICAL.fullmatch(value) or not any(sign.isalpha() for sign in value):
        return False
    return any(sign.isdigit() or sign in "!#@%+^*$&?~" for sign in value) or bool(len(value) >= 8 and _MIXED.search(value))
