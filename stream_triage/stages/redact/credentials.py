"""Rules for what people and programs log in with, by the name before the value: passwords, tokens, cookies, API keys."""

import re
from typing import Final

from stream_triage.stages.redact.assignments import is_element, is_foreign, is_option, is_password, is_said, is_token
from stream_triage.stages.redact.rule import MARKER, RedactionRule, Trigger, triggers

__all__ = ["CREDENTIAL_RULES"]

# What announces a password or a token somewhere in a name; `names.secret_kind` decides about the whole name.
_PASSWORD = r"(?:pass(?:word|wd|phrase|code|wort|wrd)?s?|pswd|psswd|pwd|pw|kennwort|senha|contrase(?:n|\xf1)a)"
_TOKEN = (
    r"(?:secret|token|credential|psk|auth|cookie|otp|jwt|sas|dsn|key|community|webhook|session|sid|crumb|saml"
    r"|assertion|ticket)"
)
_SUFFIX = r"[a-z0-9_.-]{0,32}"
_TYPE = (
    r"(?::[ ]?(?:&?(?:'static[ ])?str(?:ing)?|bytes|char\[\]|optional\[[a-z]{1,9}\]|option<[a-z]{1,9}>|any"
    r"|secretstr)[ ]{0,2}(?==))?"
)
# Between name and value: `=`, `: `, `": "`, ` => `, `] = `, with quotes of the name.
_ASSIGN = (
    rf"(?:\[[0-9]{{1,3}}\])?[\"'`\\\])]{{0,5}}[ \t]{{0,24}}{_TYPE}"
    rf"(?P<s>:=|={{1,3}}>|-{{1,2}}>|<-(?=[ ]?[\"'])|={{1,3}}|:(?!:))[ \t]{{0,24}}"
    r"(?:!(?:![a-z]{1,12}|unsafe|vault)[ ])?(?:(?:some|ok|just|n|secret[a-z]{0,12}|sensitive|securestring|text|quote"
    r"|(?:secret)?str(?:ing)?(?:::(?:from|new))?)[ ]?\((?=b?[\"'])){0,2}"
)
_QUOTE = r"(?:[brufln@]{1,2}(?=[\"']))?(?P<q>\"\"\"|'''|[\"'`]|(?P<b>\\{1,3})[\"'`])?"
# An unquoted value ends at a space or quote; at other punctuation only if what follows is not a part of it.
_PLAIN = (
    rf"(?:[^\s\"'`,;&)\]}}\\\x1b<]{{1,256}}+|(?!{MARKER})<|\\(?![nrt\"'`\\])"
    r"|[,;&)\]}](?=[^\s\"'`,;&)\]}=:<>]{0,32}[0-9!#@%+^*][^\s\"'`,;&)\]}=:<>]{0,32}(?:[\s\"'`]|$)))"
)
# A quote with more backslashes than the one before the value is a part of it.
_VALUE = (
    rf"(?!{MARKER})(?=(?P<v>(?(b)(?:(?!(?P=q))(?:\\++[^\n]|[^\n])){{1,2048}}"
    rf"|(?(q)(?:(?!(?P=q))(?:\\[^\n]|[^\n])){{1,2048}}|{_PLAIN}{{1,64}}))))"
)

_PASSWORD_WORDS = ("pswd", "psswd", "kennwort", "senha", "contrase")
"""Besides `pass`, `pw` and `pwd`, which are parts of many other words."""
_SECRET_WORDS = (
    "secret",
    "token",
    "psk",
    "auth",
    "cookie",
    "otp",
    "jwt",
    "sas",
    "dsn",
    "key",
    "webhook",
    "sid",
    "session",
    "community",
)


def _assigned(most: int) -> str:
    """What follows a word of a name up to the sign of the assignment; at most so many characters belong to the name."""
    return (
        rf"[a-z0-9_.-]{{0,{most}}}(?:\[[0-9]{{1,3}}\])?"
        r"[\"'`\\\])]{0,5}[ \t]{0,24}[:=<-]"
    )


_PASSWORD_TRIGGERS = (
    Trigger("pass", _assigned(32)),
    Trigger("pw", _assigned(8)),
    *triggers("pwd", *_PASSWORD_WORDS),
)
_TOKEN_TRIGGERS = triggers(*_SECRET_WORDS, "credential", "crumb", "saml", "assertion", "ticket", rest=_assigned(32))
_ANY_WORDS = ("pass", "pw", "cred", *_PASSWORD_WORDS, *_SECRET_WORDS)
_OPTION_TRIGGERS = triggers(*_ANY_WORDS, rest=r"[a-z0-9_.-]{0,40}[ \t]")
_ELEMENT_TRIGGERS = triggers(*_ANY_WORDS, rest=r"[a-z0-9_.:-]{0,64}>")
_SAID_TRIGGERS = (
    Trigger("pass", r"(?!ed|ing|es|en|age|iv|ion|port)"),
    *triggers("pwd", *_PASSWORD_WORDS, "secret", "psk"),
    Trigger("credential", r"s?[\"'`]?[,( \t|]"),
    Trigger("api", r"[ _-]?key[\"'`]?[,( \t|]"),
    Trigger("token", r"[a-z0-9_]{0,32}[\"'`]?[,( \t|]"),
    Trigger("pw", r"[0-9]?[\"'`]?[,( \t|]"),
)
_NAME = r"(?P<n>[a-z0-9_.:-]{1,64})"
_PAIR_QUOTE = r"\\{0,3}[\"']"
_PAIR_NAME = (
    rf"(?:name|key|id|property"
    rf"|field)(?:{_PAIR_QUOTE})?[ \t]{{0,4}}[:=][ \t]{{0,4}}(?:{_PAIR_QUOTE})?{_NAME}(?:{_PAIR_QUOTE})?"
)
_PAIR_VALUE = (
    rf"(?:value|val|content)(?:{_PAIR_QUOTE})?[ \t]{{0,4}}[:=][ \t]{{0,4}}"
    rf"(?P<q>{_PAIR_QUOTE})?(?!{MARKER})(?P<v>(?(q)(?:(?!(?P=q))[^\n]){{1,1024}}|[^\s\"'\\,;}}\])>]{{1,256}}))"
)


_COOKIES: Final = re.compile(r"cookies?[\"'\\]{0,3}[ ]?[:=][ ]{0,2}\{[^{}\n]{0,4096}\Z", re.IGNORECASE)


def _is_cookie(match: re.Match[str]) -> bool:
    """Whether a member belongs to a dictionary of cookies."""
    start = match.start("v")
    return _COOKIES.search(match.string[max(0, start - 4096) : start].rpartition("\n")[2]) is not None


def _element(kind: str, examples: tuple[tuple[str, str], ...]) -> RedactionRule:
    return RedactionRule(
        f"element-{kind}",
        kind,
        _ELEMENT_TRIGGERS,
        rf"<{_NAME}(?:[ \t][^<>\n]{{0,256}}+)?>(?:(?P<c><!\[cdata\[)|(?!<!))(?!{MARKER}|\]\]>)"
        r"(?P<v>(?(c)[^\n]{1,1024}?|[^\n<]{1,4096}+))(?=(?(c)\]\]>)</(?P=n)>)",
        "an XML element named after a secret; a parser's <token> is short or has no digit",
        examples,
        accept=is_element(kind),
    )


def _attributed(kind: str, examples: tuple[tuple[str, str], ...]) -> RedactionRule:
    return RedactionRule(
        f"attribute-{kind}",
        kind,
        triggers(*_ANY_WORDS, rest=r"[a-z0-9_.:-]{0,64}[\"'][^<>\n]{0,128}>"),
        rf"(?<![a-z])(?:name|key|id)[ ]?=[ ]?[\"']{_NAME}[\"'][^<>\n]{{0,128}}+>(?!{MARKER})(?P<v>[^<\n]{{1,4096}}+)(?=</)",
        "an XML element whose attribute says what it holds",
        examples,
        accept=is_element(kind),
    )


def _pair(kind: str, order: str, examples: tuple[tuple[str, str], ...]) -> RedactionRule:
    first, second = (_PAIR_NAME, _PAIR_VALUE) if order == "name-first" else (_PAIR_VALUE, _PAIR_NAME)
    return RedactionRule(
        f"pair-{kind}-{order}",
        kind,
        (Trigger("value", r"[\"'\\]{0,4}[ \t]{0,4}[:=]"), Trigger("content", r"[\"'\\]{0,4}[ \t]{0,4}[:=]")),
        rf"(?<![a-z]){first}{'' if order == 'name-first' else '(?(q)(?P=q))'}[ \t]{{0,4}},?[ \t]{{0,4}}"
        rf"(?:{_PAIR_QUOTE})?{second}",
        "name and value as two members, in JSON, YAML or attributes of XML",
        examples,
        accept=is_element(kind),
    )


CREDENTIAL_RULES: Final = (
    RedactionRule(
        "url-password",
        "password",
        (Trigger("@", r"(?<=[^\s]@)[a-z0-9\[$]"),),
        rf"://[^\s/@:\"'<>]{{0,256}}:(?!{MARKER}|[$][{{]?[a-z0-9_]{{1,64}}[}}]?@|\*+@)(?P<v>[^\s/\"']{{1,256}})(?=@)",
        "credentials in an address",
        (("https://bob:s3cr3t@example.org/x", "https://bob:<password>@example.org/x"),),
    ),
    RedactionRule(
        "url-token",
        "token",
        (Trigger("@", r"(?<=[^\s]@)[a-z0-9\[]"),),
        rf"://(?!{MARKER})(?=[a-z_-]{{0,64}}+[0-9])(?P<v>[a-z0-9_-]{{16,256}}+)(?=@)",
        "a token instead of a user name",
        (("https://abcdef0123456789abcd@example.org/x", "https://<token>@example.org/x"),),
    ),
    RedactionRule(
        "authorization",
        "token",
        (Trigger("authorization", r"[^\n]{0,8}[:=]"),),
        r"authorization[\"'\\\]]{0,4}[ \t]{0,4}(?::=|=>|[:=])[ \t]{0,4}[\"'\\]{0,2}"
        r"(?:bearer|basic|token|negotiate|ntlm|apikey|hawk|splunk|key|(?P<d>digest|aws4-hmac-sha256|oauth))"
        rf"[ \t]{{1,4}}(?!{MARKER}|[$*\[{{])(?P<v>(?(d)[^\n]{{3,8192}}|[^\s\"',;]{{3,8192}}))",
        "what authorises a request",
        (("Authorization: Basic Zm9vOmJhcg==", "Authorization: Basic <token>"),),
    ),
    RedactionRule(
        "bearer",
        "token",
        (Trigger("bearer", r"[ \t]{1,4}[a-z0-9._~+/=-]{20}"),),
        rf"(?<![a-z])bearer[ \t]{{1,4}}(?!{MARKER})(?=[a-z._~+/=-]{{0,512}}+[0-9])(?P<v>[a-z0-9._~+/=-]{{20,8192}}+)",
        "a radio bearer is a common word, so only long values with a digit",
        (
            ("sent Bearer abcdefghij0123456789", "sent Bearer <token>"),
            ("EPS bearer 5 released", "EPS bearer 5 released"),
        ),
    ),
    RedactionRule(
        "cookie",
        "token",
        (Trigger("cookie"),),
        rf"(?<![a-z])(?:set-)?cookie2?[\"'\\]{{0,2}}[ \t]?:[ \t]{{0,4}}[\"'\\]{{0,2}}(?!{MARKER})"
        r"(?P<v>[a-z0-9_.!#$%&*+^|~-]{1,256}+=[^\n\"']{1,8192})",
        "web sessions; the cookies of SCTP are not written as name=value",
        (("Set-Cookie: sid=abc; Path=/", "Set-Cookie: <token>"),),
    ),
    RedactionRule(
        "cookies",
        "token",
        (Trigger("cookie", r"s?[\"'\\]{0,3}[ ]?[:=][ ]{0,2}\{"),),
        rf"[{{,][ ]?(?:{_PAIR_QUOTE})[^\"'\n]{{1,64}}(?:{_PAIR_QUOTE})[ ]?:[ ]?(?:{_PAIR_QUOTE})(?!{MARKER})"
        r"(?P<v>[^\"'\\{}\n]{4,4096})",
        "cookies as a dictionary of a program",
        (("cookies={'lab': 'ab12cd34', 'n': 'ef56gh78'}", "cookies={'lab': '<token>', 'n': '<token>'}"),),
        accept=_is_cookie,
    ),
    RedactionRule(
        "password",
        "password",
        _PASSWORD_TRIGGERS,
        rf"(?P<n>{_PASSWORD}{_SUFFIX}){_ASSIGN}{_QUOTE}{_VALUE}",
        "`password=…` in every common spelling; `PWD=/…` is a folder, `password: must be …` is prose, `pw=-23 dBm` a power",
        (
            ("DB_PASSWORD=hunter2", "DB_PASSWORD=<password>"),
            ('"passwd": "a b\'c", "n": 1', '"passwd": "<password>", "n": 1'),
            ("password: must be longer", "password: must be longer"),
            ("pw=-23.5 dBm", "pw=-23.5 dBm"),
            ("PrintWriter pw = new PrintWriter(out);", "PrintWriter pw = new PrintWriter(out);"),
        ),
        accept=is_password,
    ),
    RedactionRule(
        "secret",
        "token",
        _TOKEN_TRIGGERS,
        rf"(?P<n>{_TOKEN}{_SUFFIX}){_ASSIGN}{_QUOTE}{_VALUE}",
        "API keys, tokens and shared secrets after their names; those of a parser have no digit",
        (
            ("api_key=abcdef0123", "api_key=<token>"),
            ("client_secret: 'correct horse'", "client_secret: '<token>'"),
            ("AWS_SECRET_ACCESS_KEY=[secure]", "AWS_SECRET_ACCESS_KEY=[secure]"),
            ("token: abcd1234efgh", "token: <token>"),
            ("unexpected token: }", "unexpected token: }"),
        ),
        accept=is_token,
    ),
    RedactionRule(
        "password-in-other-languages",
        "password",
        triggers(
            "mot de passe",
            "motdepasse",
            "wachtwoord",
            "haslo",
            "has\u0142o",
            "heslo",
            "salasana",
            "senord",
            "parola",
            "contrase",
            "kodeord",
            "\u5bc6\u7801",
            "\u53e3\u4ee4",
            "\u30d1\u30b9\u30ef\u30fc\u30c9",
            "\ube44\ubc00\ubc88\ud638",
            "\u043f\u0430\u0440\u043e\u043b\u044c",
        ),
        r"(?:mot[ ]de[ ]passe|motdepasse|wachtwoord|has(?:l|\u0142)o|heslo|salasana|l(?:o|\xf6)senord|parola"
        r"|kodeord|contrase\xf1a|\u5bc6\u7801|\u53e3\u4ee4"
        r"|\u30d1\u30b9\u30ef\u30fc\u30c9|\ube44\ubc00\ubc88\ud638|\u043f\u0430\u0440\u043e\u043b\u044c)"
        rf"[\"']?[ \t\xa0]{{0,4}}(?:[:=]|\uff1a)[ \t]{{0,4}}{_QUOTE}{_VALUE}",
        "the word for a password in other languages",
        (
            ("Mot de passe : hunter2", "Mot de passe : <password>"),
            ("\u5bc6\u7801\uff1ahunter2", "\u5bc6\u7801\uff1a<password>"),
        ),
        accept=is_foreign,
    ),
    RedactionRule(
        "option",
        "password",
        _OPTION_TRIGGERS,
        rf"(?:(?<![^\s\"'=\[(,`])--|(?<= )-|(?<![^\s\"'`])(?:env|arg|setx|setenv|set"
        rf"|export)[ ](?:-[a-z]{1, 4}[ ])?)(?P<n>[a-z0-9_.-]{{0,48}}{_PASSWORD}{_SUFFIX})[ \t]{{1,4}}{_QUOTE}{_VALUE}",
        "passwords on a command line",
        (("run --password hunter2 -v", "run --password <password> -v"),),
        accept=is_option("password"),
    ),
    RedactionRule(
        "option-token",
        "token",
        _OPTION_TRIGGERS,
        rf"(?:(?<![^\s\"'=\[(,`])--|(?<= )-|(?<![^\s\"'`])(?:env|arg|setx|setenv|set"
        rf"|export)[ ](?:-[a-z]{1, 4}[ ])?)(?P<n>[a-z0-9_.-]{{0,48}}{_TOKEN}{_SUFFIX})[ \t]{{1,4}}{_QUOTE}{_VALUE}",
        "tokens on a command line",
        (("ship --api-key abc12345 --dry", "ship --api-key <token> --dry"),),
        accept=is_option("token"),
    ),
    RedactionRule(
        "said",
        "password",
        _SAID_TRIGGERS,
        rf"(?P<n>(?:{_PASSWORD}|secret|psk|token|api[ _-]?key|credential)[a-z0-9_-]{{0,16}})"
        rf"(?P<s>[\"'`]?[ \t]{{0,24}}[|\u2502][ \t]{{0,24}}|\][ ]{{0,4}}\[(?=[^\s\]]{{6}})"
        rf"|;(?=[^\s;]{{6,64}}(?:;|$))"
        r"|[ \t][^\n:=\"']{2,60}:[ \t]{1,2}(?=[^\s]{6,128}[ \t]*\r?$)"
        r"|\([ \t]?(?=[\"'])|[\"'`]?,[ \t]{0,4}(?=[\"'])|[ \t]{1,4}(?!" + MARKER + r")[\[<{]"
        r"|[ \t][^\n:=\"']{2,60}:[ \t]{1,2}(?=[^\s]{6,128}[ \t]*\r?$)"
        r"|[ \t]{1,4}(?:(?:(?:for|of)[ \t](?:user[ \t])?[^\s:=]{1,40}[ \t])?"
        r"(?:is|was|to|equals|(?:(?:has|have|had|was|is)[ ](?:been[ ])?)?(?:now[ ])?(?:set|changed|reset"
        r"|updated)[ ](?:to|from))[ \t]{0,2}:?[ \t]{1,2})?(?:[057][ \t])?"
        rf"|[ \t]{{5,32}}|(?<=<password)>[ ](?:to|->|=>)[ ]){_QUOTE}{_VALUE}",
        "a password in a sentence, a table of two columns or a list of arguments, if it does not look like a word",
        (
            ("the password for bob is hunter2", "the password for bob is <password>"),
            ("| password | hunter2 |", "| password | <password> |"),
            ('setPassword("hunter2")', 'setPassword("<password>")'),
            ("password reset requested", "password reset requested"),
        ),
        accept=is_said,
    ),
    _element("password", (("<Password>hunter2</Password>", "<Password><password></Password>"),)),
    _element(
        "token", (("<ApiKey>abcdef</ApiKey>", "<ApiKey><token></ApiKey>"), ("<token>while</token>", "<token>while</token>"))
    ),
    _attributed("password", (('<entry key="db.password">hunter2</entry>', '<entry key="db.password"><password></entry>'),)),
    _attributed("token", (('<string name="api_key">abcd1234</string>', '<string name="api_key"><token></string>'),)),
    _pair(
        "password",
        "name-first",
        (
            ('{"name":"password","value":"hunter2"}', '{"name":"password","value":"<password>"}'),
            ('<add key="DbPassword" value="hunter2"/>', '<add key="DbPassword" value="<password>"/>'),
        ),
    ),
    _pair(
        "password", "value-first", (('{"value":"hunter2","name":"password"}', '{"value":"<password>","name":"password"}'),)
    ),
    _pair("token", "name-first", (('{"name":"API_TOKEN","value":"abc12345"}', '{"name":"API_TOKEN","value":"<token>"}'),)),
    _pair("token", "value-first", (('{"value":"abc12345","name":"API_TOKEN"}', '{"value":"<token>","name":"API_TOKEN"}'),)),
    RedactionRule(
        "session",
        "token",
        (Trigger("sess", r"(?:ion[_-]?)?id[a-z]{0,16}[\"']{0,2}[=:]"),),
        r"(?:(?<![a-z])(?:jsessionid|phpsessid|aspsessionid[a-z]{0,16}|asp\.net_sessionid)="
        r"|(?<![a-z])session[_-]?id(?:=|[\"']:)[ ]?(?=[\"']?[^\s\"'`,;&)\]}]{20})(?![\"']?(?:0x|[0-9]+(?![0-9a-z]))))"
        rf"(?=[\"']?[^\s\"'`,;&)\]}}]{{6}})[\"']?(?!{MARKER})(?=[^\s0-9]{{0,512}}+[0-9])(?P<v>[^\s\"'`,;&)\]}}]{{1,4096}}+)",
        "the id of a web session; the number of a PDU or PFCP session is no secret",
        (
            ("GET /x;jsessionid=0A1B2C3D4E5F", "GET /x;jsessionid=<token>"),
            ("sessionId=4711 up", "sessionId=4711 up"),
        ),
    ),
    RedactionRule(
        "query",
        "token",
        (Trigger("sig", r"[a-z]{0,6}="), Trigger("key="), Trigger("credential="), Trigger("token="), Trigger("code=")),
        rf"[?&](?:sig|signature|key|code|x-amz-(?:signature|credential|security-token)|x-goog-signature)=(?!{MARKER})"
        r"(?=[^\s&\"'#<>0-9]{0,512}+[0-9])(?P<v>[^\s&\"'#<>]{16,4096}+)",
        "anyone who has a signed address can use it",
        (("https://x.example/f?sig=abcdef0123456789&v=1", "https://x.example/f?sig=<token>&v=1"),),
    ),
)
