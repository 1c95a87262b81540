"""Rules for what people and programs log in with: passwords, tokens, cookies, API keys."""

from typing import Final

from stream_triage.stages.redact.rule import ANSI, MARKER, RedactionRule, Trigger

__all__ = ["CREDENTIAL_RULES"]

# A value after `name=`, `name: `, `"name": "` or `name => `. Stand-ins, code and markers are not values.
_ASSIGN = rf"(?:{ANSI}|[\"'\\\]]){{0,4}}[ \t]{{0,4}}(?::=|=>|[:=])(?:{ANSI}|[ \t]){{0,4}}"
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
    rf"(?!{MARKER})(?!{_STAND_IN}{_END})"
    r"(?(q)(?!\)(?:[\s;:]|$))|(?![a-z_][a-z0-9_.]*+[(\[][^\n]{0,256}[)\]])(?![\[({=<>,;]))"
)
_PLAIN = rf"(?:(?!{MARKER})[^\s\"'`,;&)\]}}\\\x1b]|\\(?![nrt\"'`\\]))"
_VALUE = rf"{_QUOTE}{_NO_VALUE}(?P<v>(?(q)(?:(?!(?P=q))[^\n]){{1,1024}}|{_PLAIN}{{1,4096}}+))"
_SOON_DIGIT = r"(?=[\"'`\\]{0,2}[^\s\"'`,;&)\]}0-9]{0,512}+[0-9])"

# Paths, and what only looks like name and value: `credentials.py:1102`, `jsonwebtoken:jjwt-api:jar:0.11.2`.
_NOT_PATH = r"(?![/~]|(?<=:)[a-z0-9_.-]{1,128}+:)"


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
# The value of a quoted string, without its quotes, unless it is a stand-in.
_QUOTED = rf"(?P<q>\\{{0,3}}[\"'])(?!{MARKER})(?!{_STAND_IN}(?P=q))(?P<v>(?:(?!(?P=q))[^\n]){{1,1024}}+)(?P=q)"


def _element(word: str, value: str) -> str:
    """An XML element with such a name, up to its end."""
    return (
        rf"<(?P<n>{_NAME_BEFORE}{word})(?:[ \t][^<>\n]{{0,256}}+)?>(?:<!\[cdata\[)?(?!{MARKER})"
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
        rf"authorization{_ASSIGN}[\"'\\]{{0,2}}(?:bearer|basic|token|negotiate|ntlm|apikey|(?P<d>digest|aws4-hmac-sha256))"
        rf"[ \t]{{1,4}}(?!{MARKER}|[$*\[{{])(?P<v>(?(d)[^\n]{{3,8192}}|[^\s\"',;]{{3,8192}}))",
        "what authorises a request",
        (("Authorization: Basic Zm9vOmJhcg==", "Authorization: Basic <token>"),),
    ),
    RedactionRule(
        "authorization-plain",
        "token",
        (Trigger("authorization", r"[^\n]{0,8}[:=]"),),
        rf"authorization{_ASSIGN}(?!(?:bearer|basic|token|digest|negotiate|ntlm|apikey|aws4-hmac-sha256)[ \t])"
        rf"{_SOON_DIGIT}{_long_value(12)}",
        "the same without a scheme",
        (('"authorization": "0123456789abcdef"', '"authorization": "<token>"'),),
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
    RedactionRule(
        "pw",
        "password",
        (Trigger("pw", rf"(?:{ANSI}|[\"'\\\]]){{0,4}}[ \t]{{0,4}}[:=]"),),
        rf"(?<![a-z0-9])pw(?=[^:=\n]{{0,64}}+(?:=|:[ \t]*[\"']|:=)){_ASSIGN}(?![/~:\\])"
        rf"(?![\"']?[+-]?(?:[0-9]{{1,9}}(?:\.[0-9]{{0,9}})?|\.[0-9]{{1,9}})(?:dbm?|m?w|[mun]s|px|%|[khmg]?hz)?{_END}){_VALUE}",
        "a power or a pulse width is a number, so that stays",
        (("pw=hunter2", "pw=<password>"), ("pw=-23.5 dBm", "pw=-23.5 dBm")),
    ),
    RedactionRule(
        "element",
        "password",
        _PASSWORD_TRIGGERS,
        _element(_PASSWORD_WORD, r"(?P<v>[^<\n]{1,1024}?)"),
        "an XML element named after a password",
        (("<Password>hunter2</Password>", "<Password><password></Password>"),),
    ),
    RedactionRule(
        "element-secret",
        "token",
        (*_SECRET_TRIGGERS, Trigger("key>")),
        _element(_SECRET_WORD, r"(?:(?<!token>)|(?=[^<\n0-9]{0,512}+[0-9])(?=[^<\n]{8}))(?P<v>[^<\n]{1,4096}?)"),
        "the same with a secret; a parser's <token> is short or has no digit",
        (("<ApiKey>abcdef</ApiKey>", "<ApiKey><token></ApiKey>"), ("<token>while</token>", "<token>while</token>")),
    ),
    RedactionRule(
        "pair",
        "password",
        _PAIR_TRIGGERS,
        _pair(_PASSWORD_WORD, ""),
        "JSON with members `name` and `value`",
        (('{"name":"password","value":"hunter2"}', '{"name":"password","value":"<password>"}'),),
    ),
    RedactionRule(
        "pair-turned",
        "password",
        _PAIR_TRIGGERS,
        _pair(_PASSWORD_WORD, "", value_first=True),
        "the same, value first",
        (('{"value":"hunter2","name":"password"}', '{"value":"<password>","name":"password"}'),),
    ),
    RedactionRule(
        "pair-secret",
        "token",
        _PAIR_TRIGGERS,
        _pair(_SECRET_WORD, _LONG),
        "the same with a token",
        (('{"name":"API_TOKEN","value":"abc12345"}', '{"name":"API_TOKEN","value":"<token>"}'),),
    ),
    RedactionRule(
        "pair-secret-turned",
        "token",
        _PAIR_TRIGGERS,
        _pair(_SECRET_WORD, _LONG, value_first=True),
        "the same, value first",
        (('{"value":"abc12345","name":"API_TOKEN"}', '{"value":"<token>","name":"API_TOKEN"}'),),
    ),
    RedactionRule(
        "curl-user",
        "password",
        (Trigger("curl"),),
        r"(?<![a-z])curl(?:\.exe)?[ \t][^\n|]{0,512}?(?<=[ \t])(?:-[a-z]{0,4}u[ \t]{0,4}|--(?:proxy-)?user(?:[ \t]{1,4}|=))"
        rf"(?P<q>\\?[\"'])?(?!-)[^\s:\"'@|\\]{{1,128}}:(?!{MARKER})(?!{_STAND_IN}{_END})(?!//)"
        r"(?P<v>(?(q)(?:(?!(?P=q))[^\n]){1,256}+|[^\s\"'`;&|<>\\]{1,256}+))",
        "a user and password for curl; elsewhere `--user 1000:1000` is a user and a group",
        (("curl -u bob:hunter2 http://x", "curl -u bob:<password> http://x"),),
    ),
    RedactionRule(
        "mysql",
        "password",
        (Trigger("mysql", r"[^\n]{0,300}[ \t]-p[^ \t\n]"),),
        r"(?<![a-z0-9_.=-])mysql(?:dump|admin|import|show|check)?[ \t]"
        r"[^\n|;]{0,256}?(?<=[ \t])(?-i:-p)(?![0-9.:]{1,32}:[0-9])"
        rf"(?P<q>\\?[\"'])?(?!{MARKER})(?!{_STAND_IN}{_END})"
        r"(?P<v>(?(q)(?:(?!(?P=q))[^\n]){1,256}+|[^\s\"'`;&|<>\\]{3,256}+))",
        "its short option takes the password without a space; -P is a port, and -p of Docker a pair of ports",
        (("mysql -u root -phunter2 db", "mysql -u root -p<password> db"), ("mysql -p db", "mysql -p db")),
    ),
    RedactionRule(
        "session",
        "token",
        (Trigger("sess", r"(?:ion[_-]?)?id[a-z]{0,16}="),),
        rf"(?:(?<![a-z])(?:jsessionid|phpsessid|aspsessionid[a-z]{{0,16}}|asp\.net_sessionid)="
        rf"|(?<![a-z])session[_-]?id=(?!0x|[\"']?[0-9]+{_END})(?=[\"']?[^\s\"'`,;&)\]}}]{{20}})(?=[^\s0-9]{{0,512}}+[0-9]))"
        rf"(?=[\"']?[^\s\"'`,;&)\]}}]{{6}}){_VALUE}",
        "the id of a web session; the number of a PDU or PFCP session is no secret",
        (
            ("GET /x;jsessionid=0A1B2C3D4E5F", "GET /x;jsessionid=<token>"),
            ("sessionId=4711 up", "sessionId=4711 up"),
        ),
    ),
    RedactionRule(
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
    RedactionRule(
        "option-token",
        "token",
        _SECRET_TRIGGERS,
        rf"(?<![^\s\"'=\[(,])--?(?:[a-z0-9]{{1,32}}-){{0,4}}(?:token|secret|api-?key|access-key|secret-key|private-key)"
        rf"[ \t]{{1,4}}(?![-/]){_SOON_DIGIT}{_long_value(8)}",
        "tokens on a command line",
        (("ship --api-key abc12345 --dry", "ship --api-key <token> --dry"),),
    ),
    RedactionRule(
        "secret",
        "token",
        _SECRET_TRIGGERS,
        rf"{_SECRET}(?:(?={_ASSIGN}[\"'`])|(?=[ \t]?=)|(?={_ASSIGN}{_SOON_DIGIT}))"
        rf"{_ASSIGN}{_NOT_PATH}{_long_value(5)}",
        "API keys, access tokens and shared secrets after their names; after a colon quoted or with a digit",
        (
            ("api_key=abcdef0123", "api_key=<token>"),
            ("client_secret: 'correct horse'", "client_secret: '<token>'"),
            ("AWS_SECRET_ACCESS_KEY=[secure]", "AWS_SECRET_ACCESS_KEY=[secure]"),
        ),
    ),
    RedactionRule(
        "token",
        "token",
        (Trigger("token"),),
        rf"token{_ASSIGN}{_NOT_PATH}{_SOON_DIGIT}{_long_value(8)}",
        "tokens of a parser hardly ever have eight characters with a digit among them",
        (("token: abcd1234efgh", "token: <token>"), ("unexpected token: }", "unexpected token: }")),
    ),
    RedactionRule(
        "query",
        "token",
        (Trigger("sig", r"[a-z]{0,6}="), *_SECRET_TRIGGERS),
        rf"[?&](?:sig|signature|key|x-amz-(?:signature|credential|security-token)|x-goog-signature)=(?!{MARKER})"
        r"(?=[^\s&\"'#<>0-9]{0,512}+[0-9])(?P<v>[^\s&\"'#<>]{16,4096}+)",
        "anyone who has a signed address can use it",
        (("https://x.example/f?sig=abcdef0123456789&v=1", "https://x.example/f?sig=<token>&v=1"),),
    ),
    RedactionRule(
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
        "tokens with a known beginning",
        (
            ("found ghp_0123456789abcdefghij0123456789abcdef", "found <token>"),
            ("id AKIAABCDEFGHIJKLMNOP", "id <token>"),
        ),
        ignore_case=False,
    ),
    RedactionRule(
        "jwt",
        "token",
        (Trigger("eyj"),),
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,8192}+(?:\.{1,2}[A-Za-z0-9_-]{1,16384}+){1,4}",
        "a JSON web token, signed or encrypted",
        (("got eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln!", "got <token>!"),),
        ignore_case=False,
    ),
)
