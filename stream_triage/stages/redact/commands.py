"""Rules for command lines and dialogues in which a secret stands at a known place and no name announces it."""

import re
from typing import Final

from stream_triage.stages.redact.rule import MARKER, RedactionRule, Trigger, triggers
from stream_triage.stages.redact.values import is_path, is_stand_in, is_strong

__all__ = ["COMMAND_RULES"]

_WORD = (
    rf"(?P<q>\\?[\"'])?(?!{MARKER})(?P<v>(?(q)(?:(?!(?P=q))[^\n]){{1,256}}+|(?:[^\s\"'`;&|<>\\]|[;&](?=[^\s;&"
    rf"|<>\"'])){{1,256}}+))"
)
_START = r"(?<![a-z0-9_.=-])"

# Programs and the short options whose argument is a secret. Capital letters differ from small ones.
_OPTIONS: Final = (
    (r"sshpass|redli|mongo(?:sh|dump|restore|export|import)?|cqlsh|clickhouse-client|influx|beeline|ansible-vault", "p"),
    (
        r"(?:docker|podman|skopeo|buildah|nerdctl|crane|oras|helm|az|oc|kubectl|cf|ibmcloud|npm|yarn|twine|vault|jf|jfrog|rancher|argocd)"
        r"(?:[ \t]{1,4}[a-z][a-z-]{0,24}){0,3}?[ \t]{1,4}(?:login|auth|upload|connect)",
        "p",
    ),
    (r"psexec(?:64)?|useradd|usermod|winrs|winexe|plink|pscp", "p"),
    (r"ipmitool|sqlcmd|bcp|isql|mosquitto_(?:pub|sub|rr)|unzip|zip|xfreerdp|rcon|ncftp|racadm", "P"),
    (r"redis-(?:cli|benchmark)|pysim[a-z-]{0,16}(?:\.py)?", "a"),
    (r"ldap(?:search|add|modify|delete|passwd|whoami|modrdn|compare)", "w"),
    (r"openssl|nuget|dotnet(?:[ \t][a-z]{1,12}){0,3}", "k"),
    (r"ssh-keygen", "NP"),
    (r"snmp(?:get|getnext|bulkget|walk|bulkwalk|set|trap|inform|table|status|df|test)", "cAX"),
)


def _option(programs: str, letters: str) -> str:
    return rf"(?:{programs})(?=[ \t])(?:[^\n|;&)]|&(?!&)){{0,400}}?(?<=[ \t])(?-i:-[{letters}])(?:[ \t]{{1,4}}|=|(?=['\"]))"


_SHORT = "|".join(_option(programs, letters) for programs, letters in _OPTIONS)


def _is_argument(match: re.Match[str]) -> bool:
    value = match["v"]
    if value.isdigit() and match.string[: match.start("v")].rstrip(" =").endswith("-P"):
        return False
    return not (is_stand_in(value) or value[0] in "-/<$" or (re.fullmatch(r"[0-9.:/]+(?:tcp|udp)?", value) and ":" in value))


def _is_secret_word(match: re.Match[str]) -> bool:
    value = match["v"]
    return value[0] != ":" and is_strong(value) and not is_stand_in(value) and not is_path(value) and "/" not in value


def _is_mixed(match: re.Match[str]) -> bool:
    """Whether a word after PASS or AUTH is a password: the results of tests are words, paths and numbers."""
    value = match["v"]
    return _is_secret_word(match) and not re.fullmatch(r"[a-z_]+(?:[._-][a-z0-9_]+)*[0-9]{0,2}|.*\.[a-z]{1,4}|.*::.*", value)


def _is_typed(match: re.Match[str]) -> bool:
    """Whether what a script types is a password: a command has words without digits and signs."""
    value = match["v"]
    if match["k"] is None:
        return True
    words = value.split()
    return (
        is_strong(value)
        and not re.match(r"[a-z]+[ ]-|[a-z]{2,8}[ ][/0-9]", value)
        and (len(words) == 1 or (len(words) < 5 and is_strong(words[-1])))
    )


def _is_keyword_argument(match: re.Match[str]) -> bool:
    value = match["v"]
    return _is_secret_word(match) and not re.match(r"[a-z_]{1,24}=|[0-9]{1,3}(?:\.[0-9]{1,3}){3}", value)


COMMAND_RULES: Final = (
    RedactionRule(
        "modem-account",
        "password",
        tuple(Trigger(f"at{sign}", r"[a-z]{3,12}=") for sign in "+^$#%*"),
        r"at[+^$#%*][a-z]{3,12}=[^\n\"]{0,24}(?:\\?\"[^\"\n]{0,64}\"[ ]?,[ ]?){1,5}?\\?\"(?!"
        + MARKER
        + r")(?P<v>[^\"\n\\]{6,64})(?=\\?\")",
        "user and password of an access point, mail or file server, as strings of a modem's command",
        (('AT+QICSGP=1,1,"internet","bob","hunter2"', 'AT+QICSGP=1,1,"internet","bob","<password>"'),),
        accept=_is_secret_word,
    ),
    RedactionRule(
        "user-and-password",
        "password",
        triggers("to log in", "bind", "u/p", "login "),
        r"(?:(?<![a-z])(?:use|with|as|try)[ ][a-z][a-z0-9._-]{0,31}:(?=[^\s]{6,64}[ ]to[ ]log[ ]?in)"
        r"|(?<![a-z])bind[ ][^\n]{0,16}?(?:cn|uid|dn)=[^\s]{1,128}[ ]/[ ]|(?<![a-z])u/p[ ]?[:=][ ]?[^\s/]{1,32}/"
        r"|(?:^|[>:\]][ ])(?-i:LOGIN)[ ][a-z][a-z0-9._@-]{0,31}[ ](?=[^\s]{6,64}[ \t]*\r?$))" + _WORD,
        "notes and dialogues with a user beside the password",
        (("use bob:hunter2 to log in", "use bob:<password> to log in"), ("u/p: bob/hunter2", "u/p: bob/<password>")),
        accept=_is_secret_word,
    ),
    RedactionRule(
        "curl-user",
        "password",
        (Trigger("curl"), Trigger("--user "), Trigger("--proxy-user "), Trigger("wget"), Trigger("http -")),
        r"(?:(?<![a-z])(?:curl(?:\.exe)?|https?)[ \t][^\n|]{0,512}?(?<=[ \t])(?:-[a-z]{0,4}[ua][ \t]{0,4}"
        r"|--(?:proxy-)?user(?:[ \t]{1,4}|=))"
        r"|^[ \t]{1,16}(?:-u|--(?:proxy-)?user)[ \t]{1,4})"
        r"(?P<q>\\?[\"'])?(?!-)[^\s:\"'@|\\]{1,128}:(?!//)(?!" + MARKER + r")"
        r"(?P<v>(?(q)(?:(?!(?P=q))[^\n]){1,256}+|[^\s\"'`;&|<>\\]{1,256}+))",
        "a user and password for curl, also in a continued line; elsewhere `--user 1000:1000` is a user and a group",
        (("curl -u bob:hunter2 http://x", "curl -u bob:<password> http://x"),),
        accept=_is_argument,
    ),
    RedactionRule(
        "mysql",
        "password",
        (
            Trigger("mysql", r"[^\n]{0,300}[ \t]-p[^ \t\n]"),
            Trigger("mariadb", r"[^\n]{0,300}[ \t]-p[^ \t\n]"),
            Trigger("7z", r"[^\n]{0,300}[ \t]-p[^ \t\n]"),
        ),
        rf"{_START}(?:(?:mysql|mariadb)(?:-?(?:dump|admin|import|show|check))?|7z[azr]?)[ \t][^\n"
        rf"|;]{{0,256}}?(?<=[ \t])(?-i:-p)"
        rf"(?![0-9.:]{{1,32}}:[0-9]){_WORD}",
        "its short option takes the password without a space; -P is a port, and -p of Docker a pair of ports",
        (("mysql -u root -phunter2 db", "mysql -u root -p<password> db"), ("mysql -p db", "mysql -p db")),
        accept=_is_argument,
    ),
    RedactionRule(
        "short-option",
        "password",
        tuple(Trigger(f" -{letter}", r"[ \t='\"]") for letter in "pawkncx"),
        rf"{_START}(?:{_SHORT}){_WORD}",
        "programs that take a password, passphrase or community after one letter",
        (
            ("sshpass -p hunter2 ssh x", "sshpass -p <password> ssh x"),
            ("docker login -u bob -p hunter2 reg.example", "docker login -u bob -p <password> reg.example"),
            ("snmpwalk -v2c -c lab-ro 10.0.0.1", "snmpwalk -v2c -c <password> 10.0.0.1"),
            ("docker run -p 8080:80 x", "docker run -p 8080:80 x"),
        ),
        accept=_is_argument,
    ),
    RedactionRule(
        "user-option",
        "password",
        (Trigger(" -p", r"[ =]{1,4}[^ \n]{4}"),),
        r"(?<=[ \t])-[ul][ =]?[^\s-][^\s]{0,63}[ ](?:[^\n|;&]{0,80}?[ ])?(?-i:-p)[ =]{1,4}" + _WORD,
        "an option for the user makes the next one a password, of any program",
        (("tool -u bob -p hunter2", "tool -u bob -p <password>"), ("ssh -l bob -p 2222 x", "ssh -l bob -p 2222 x")),
        accept=_is_secret_word,
    ),
    RedactionRule(
        "argument",
        "password",
        (
            *triggers(
                "htpasswd",
                "radtest",
                "radclient",
                "add_user",
                "change_password",
                "pass:",
                "requirepass",
                "masterauth",
                "community",
                "radius",
                "tacacs",
                "identified",
                "net user",
                "user=",
                "smbclient",
                "chpasswd",
                "--stdin",
                "-stdin",
                "sudo -s",
                "wpa_passphrase",
                "pre-shared-key",
                "isakmp key",
                "createuser",
                "securestring",
                "vault login",
                "net use",
                "schtasks",
                "auth sha",
                "priv aes",
                "priv des",
                "<password>",
                "_server ",
                "+cgauth",
                "+uauthreq",
                "$qcpdpp",
                "md5 ",
                "sha ",
                "key-string",
                "authentication-key",
            ),
            *triggers(": psk", ": rsa", ": eap", ": xauth", ": ecdsa", rest=r"[ \t][^\n]{0,64}[\"']"),
        ),
        r"(?:(?<![a-z])htpasswd(?:[ \t]-[a-z]{1,6})*[ \t]{1,4}[^\s-][^\s]{0,127}[ \t]{1,4}[^\s-][^\s]{0,63}[ \t]{1,4}"
        r"|(?<![a-z])radtest[ \t]{1,4}(?:-[a-z][ \t]{1,4}[^\s]{1,16}[ \t]{1,4})?[^\s]{1,64}[ \t]{1,4}"
        rf"|(?<![a-z])radtest[ \t][^\n]{{1,128}}?{MARKER}[ \t]{{1,4}}[^\s]{{1,64}}[ \t]{{1,4}}[0-9]{{1,5}}[ \t]{{1,4}}"
        r"|(?<![a-z])radclient[ \t][^\n|]{1,128}?[ \t](?:auth|acct|coa|disconnect|status)[ \t]{1,4}"
        r"|(?<![a-z])(?:add_user|change_password|wpa_passphrase)[ \t]{1,4}(?:\"[^\"\n]{1,64}\"|[^\s\"]{1,64})[ \t]{1,4}"
        r"|(?<![a-z-])-?pass(?:in|out)?[ \t=]{1,4}pass:|(?<=[ \t\"'=])pass:(?=[^\s])|(?<![a-z])(?:requirepass"
        r"|masterauth)[ \t]{1,8}"
        r"|(?:(?<![a-z])(?:snmp-server[ \t]{1,4}|snmp[ \t]{1,4}|r[ow])"
        r"|^[ \t]{0,8})community6?[ \t]{1,8}(?:string[ \t]{1,4})?"
        r"|(?<![a-z])(?:radius|tacacs)[^\n]{1,160}?[ \t](?:key|secret)[ \t]{1,4}(?:[057][ \t]{1,4})?"
        r"|(?:(?<![a-z])(?-i:IDENTIFIED|identified(?=[^\n]{0,60}[ ](?:by"
        r"|as)[ ][\"']))[ \t]{1,4}(?:with[ \t]{1,4}[^\s]{1,40}[ \t]{1,4})?(?:by"
        r"|as)[ \t]{1,4}(?:password[ \t]{1,4})?)"
        r"|(?<![a-z])net[ \t]user[ \t]{1,4}[^\s/]{1,64}[ \t]{1,4}"
        r"|(?<![a-z])(?:smbclient|rpcclient|winexe)[ \t][^\n|]{0,256}?-u[ \t]{0,2}[^\s%]{1,64}%"
        r"|pre-shared-key[ \t]{1,4}(?:ascii-text[ \t]{1,4}|local[ \t]{1,4}|remote[ \t]{1,4}|[0-9][ \t]{1,4})?"
        r"|isakmp[ \t]key[ \t]{1,4}(?:[06][ \t]{1,4})?"
        r"|(?<![a-z])createuser[ \t]{1,4}[^\s]{1,64}[ \t]{1,4}(?:-[a-z][ \t]{1,4}[^\s]{1,64}[ \t]{1,4})?(?:md5"
        r"|sha[0-9-]{0,8})[ \t]{1,4}"
        r"|(?<![a-z])convertto-securestring[ ](?:-string[ ])?|(?<![a-z])vault[ ]login[ ](?!-)"
        r"|(?<![a-z])net[ ]use[ ][^\n]{1,128}?/user:[^\s]{1,64}[ ]"
        r"|(?<![a-z])net[ ]use[ ](?:[a-z*]:?[ ])?\\\\[^\s]{1,128}[ ](?=[^\s/]{1,128}[ ]/user:)"
        r"|(?<![a-z])schtasks[ ][^\n]{1,256}?[ ]/rp[ ]"
        r"|(?<![a-z])(?:authentication|accounting|auth|acct)_server[ ][^\s]{3,64}[ ][0-9]{2,5}[ ]"
        r"|at\+(?:cgauth|uauthreq)=[0-9]{1,2},[0-3],\\?\"[^\"\n]{0,64}\",|at\$qcpdpp=[0-9]{1,2},[0-3],"
        r"|(?<![a-z])(?:auth|priv|<password>[\"']?)[ ](?:md5|sha[0-9-]{0,4}|des|3des|aes[0-9-]{0,4})[ ](?:[0-9]{3}[ ])?"
        r"|(?<![a-z])message-digest-key[ ][0-9]{1,3}[ ]md5[ ](?:[07][ ])?"
        r"|(?<![a-z])key-string[ ](?:[07][ ])?|(?<![a-z])authentication-key[ ]|:[ ](?:psk|rsa|eap|xauth"
        r"|ecdsa)[ ](?:[^\s\"]{1,64}[ ])?(?=[\"'])"
        r"|(?<![a-z])echo[ \t]{1,4}(?:-[en]{1,2}[ \t]{1,4})?(?=[^\n|]{1,256}\|[^\n]{1,200}(?:-stdin|sudo[ \t]-s"
        r"|chpasswd))(?:[\"']?[a-z0-9_.-]{1,32}:)?+)"
        rf"{_WORD}",
        "programs and configurations with a secret at a fixed place",
        (
            ("radtest bob hunter2 10.0.0.1 0 testing12", "radtest bob <password> 10.0.0.1 0 <password>"),
            ("snmp-server community lab-ro RO", "snmp-server community <password> RO"),
            ("CREATE USER x IDENTIFIED BY 'hunter2'", "CREATE USER x IDENTIFIED BY '<password>'"),
            ("echo hunter2 | docker login --password-stdin", "echo <password> | docker login --password-stdin"),
            ("openssl rsa -passin pass:hunter2", "openssl rsa -passin pass:<password>"),
        ),
        accept=_is_argument,
    ),
    RedactionRule(
        "oracle",
        "password",
        (Trigger("sqlplus"), Trigger("jdbc:oracle")),
        rf"(?:(?<![a-z])sqlplus[ \t][^\n/]{{0,64}}?[a-z0-9_]{{1,32}}/"
        rf"|jdbc:oracle:[a-z]{{1,8}}:[a-z0-9_.-]{{1,32}}/)(?!{MARKER})"
        r"(?P<v>\"[^\"\n]{1,128}\"|[^\s@/\"']{1,128})(?=@)",
        "user and password in front of the database",
        (("sqlplus bob/hunter2@db", "sqlplus bob/<password>@db"),),
    ),
    RedactionRule(
        "dialogue",
        "password",
        (Trigger("send", r"[a-z_]{0,8}:?[ ](?:-[a-z][ ])?\\?[\"']"), Trigger("auth plain "), Trigger("nmcli")),
        r"(?:(?<![a-z])send(?:_user|_slow|line)?:?[ ](?:-[a-z][ ])?\\?(?P<k>[\"'])(?=[^\n]{1,256}\\{1,2}[rn]\\?(?P=k))"
        r"|(?<![a-z])auth[ ]plain[ ]|(?<![a-z])nmcli[ ][^\n]{1,200}?[ ]password[ ])"
        rf"(?!{MARKER})(?P<v>(?(k)[^\"'\n]{{1,256}}?(?=\\{{1,2}}[rn])|[^\s\"'\\]{{1,512}}))",
        "what expect types, and logins of mail and wireless networks",
        (('send "hunter2\\\\r"', 'send "<password>\\\\r"'), ("C: AUTH PLAIN AGJvYgBodW50ZXIy", "C: AUTH PLAIN <password>")),
        accept=_is_typed,
    ),
    RedactionRule(
        "login",
        "password",
        (Trigger("pass "), Trigger("auth ")),
        r"(?<![a-z0-9_.-])(?-i:PASS|AUTH)[ ](?:oauth:)?(?=[^\s]{1,256}[ \t\"'\\]{0,4}(?:\\[rn]){0,2}\r?$)" + _WORD,
        "FTP, mail and Redis; the results of tests are words and paths",
        (("PASS hunter-2X", "PASS <password>"), ("PASS test_login2.py", "PASS test_login2.py")),
        accept=_is_mixed,
    ),
    RedactionRule(
        "account",
        "password",
        (
            *triggers(
                "login",
                "credential",
                "account",
                "creds",
                "console",
                "access",
                "auth",
                "userpass",
                "password",
                "user/pass",
                rest=r"s?[:= (]",
            ),
            Trigger(" login "),
        ),
        r"(?:(?<![a-z])(?:login|credentials?|account|creds|access|console|auth|userpass|user/pass(?:word)?"
        r"|username/password)(?:[ ][:=(]{0,2}|[:=(]{1,2})[ ]?[a-z][a-z0-9._@-]{1,31}(?:[ ]?/[ ]?|:)"
        r"|(?<![a-z0-9_.-])(?-i:[a-z0-9]{1,6}[ ]LOGIN)[ ][^\s]{1,64}[ ])"
        rf"(?![0-9./]){_WORD}",
        "notes of a user and a password, and IMAP",
        (("credentials: bob / hunter2", "credentials: bob / <password>"),),
        accept=_is_secret_word,
    ),
    RedactionRule(
        "call",
        "password",
        triggers(
            "login", "auth", "credential", "signin", "sign_in", "connect", rest=r"[a-z_]{0,24}[ ]?[(=]{1,2}[ ]?\(?[\"']"
        ),
        r"(?:login|auth|credential|sign_?in|connect)[a-z_]{0,24}[ ]?[(=]{1,2}[ ]?\(?[\"'][^\"'\n]{1,64}[\"'],[ ]?[\"']"
        rf"(?!{MARKER})(?P<v>[^\"'\n]{{4,128}})(?=[\"'])",
        "user and password as two arguments",
        (('client.login("bob", "hunter2")', 'client.login("bob", "<password>")'),),
        accept=_is_secret_word,
    ),
    RedactionRule(
        "user-at-host",
        "password",
        (Trigger("@", r"(?:[a-z0-9-]{1,64}\.|(?:tcp|unix|udp)\()"), Trigger(":5432:"), Trigger(":3306:"), Trigger(":*:")),
        r"(?:(?<![a-z0-9/:@.%+-])(?!mailto|sips?:|tel:|git:|ssh:|https?:)[a-z][a-z0-9._-]{1,31}:(?=[^\s:/@\"']{6,64}@(?:[a-z0-9-]{1,64}\.|(?:tcp|unix|udp)\())|^[^\s:]{1,64}:(?:5432|3306|\*):[^\s:]{1,64}:[^\s:]{1,64}:(?=[^\s:]{4,128}$))"
        rf"(?!{MARKER})(?P<v>[^\s:/@\"']{{4,128}})",
        "user, password and host without a scheme, and the password file of PostgreSQL",
        (
            ("admin:hunter2@10.0.0.1", "admin:<password>@10.0.0.1"),
            ("db:5432:prod:bob:hunter2", "db:5432:prod:bob:<password>"),
        ),
        accept=_is_secret_word,
    ),
    RedactionRule(
        "keyword",
        "password",
        (
            Trigger("login", r"[^\n]{0,40}(?:[ ]{2}|\t)"),
            Trigger("log in", r"(?:[ ]{2}|\t)"),
            Trigger("password", r"(?:[ ]{2}|\t)"),
        ),
        r"(?<![^ \t\n])(?:[a-z]{1,16}[ .]){0,4}?[a-z.]{0,24}(?:login|log[ ]in"
        r"|password)(?:[ ][a-z]{1,12}){0,3}(?:[ ]{2,8}|\t)"
        r"(?:[^\s]{1,64}(?:[ ]{2,8}|\t)){0,3}?"
        rf"(?=[^\s]{{1,128}}(?:[ ]{{2,8}}[a-z_]{{1,16}}=[^\s]{{0,64}}){{0,3}}[ \t]*\r?$){_WORD}",
        "keywords of Robot Framework",
        (("SSHLibrary.Login    bob    hunter2    delay=0.5", "SSHLibrary.Login    bob    <password>    delay=0.5"),),
        accept=_is_keyword_argument,
    ),
)
