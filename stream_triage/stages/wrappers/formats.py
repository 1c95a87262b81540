"""The known wrappers. Each pattern describes the prefix of a line without the blanks behind it.

A pattern need not be exact: a wrapper comes off only if the bundle knows more lines without it (see `choose`). The blanks
that a source really has behind a prefix are counted on its first lines (see `layers`).
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["FORMATS", "FORMAT_NAMES", "JSON_FORMAT", "NO_SERVICE", "STAMPS", "Format"]

NO_SERVICE: Final = re.compile(
    r"(?i)trace|debug|verbose|info|notice|warn(?:ing)?|err(?:or)?|crit(?:ical)?|fatal|panic|alert|stats?|std(?:out|err)|[rt]x|in|out"
    r"|.*(?:thread|worker|pool|task|reader|writer|main|root|\.(?:py|c|cc|cpp|h|go|rs|java|js|ts))[-_]?\d*"
)
"""Names that are levels, threads, directions or source files: such lines are not divided by their names."""

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6},?[ ]{1,2})?"
_ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[ ]?[+-]\d\d:?\d\d)?"
_DATE = (
    rf"(?:\d{{4}}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.](?:\d{{4}}|\d\d)|\d\d?[ /.-]{_MONTH}[a-z]{{0,6}}[ /.-]\d{{2,4}}"
    rf"|{_MONTH}[a-z]{{0,6}}\.?[ ]{{1,2}}\d\d?(?:,?[ ]\d{{4}})?|\d{{8}}|\d{{6}})"
)
_CLOCK = r"\d\d?[:h]\d\d(?:[:m]\d\d(?:[.,:]\d{1,9})?)?s?(?:[ ]?[AaPp][Mm](?!\w))?"
_ZONE = r"(?:Z|[ ]?(?:[+-]\d\d(?::?\d\d)?(?!\d)|(?:UTC|GMT|[CEMPW]E?[SD]?T)(?!\w)))?"
# Date and clock; a clock alone; compact stamps; seconds or ticks since 1970 or since the start, with or without unit.
_TIME = (
    rf"(?:{_DAY}{_DATE}(?:[T_,:/-]|,?[ ]{{1,2}})[ ]?{_CLOCK}{_ZONE}(?:[ ]\d{{4}}(?!\d))?|{_CLOCK}{_ZONE}"
    r"|\d{8}[T_-]?\d{6}(?:[.,]?\d{1,9})?Z?"
    r"|[Tt]?[+]?\d{1,12}[.,]\d{1,9}(?:[ ]?(?:[num]?s|sec)(?!\w))?|[Tt]?[+]\d{1,12}(?:[ ]?(?:[num]?s|sec))?"
    r"|(?:\d{1,5}[dh][ ]?)?(?:\d{1,5}m[ ]?)?\d{1,9}(?:[.,]\d{1,9})?(?:[num]?s|sec)|\d{13}|\d{16}|\d{19}|\d{10})"
)
_AFTER = r"(?=[ \t]|$)"
_OPEN, _CLOSE = r"[\[(<{【]{1,2}[ ]{0,16}", r"[ ]{0,8}[\])>}】]{1,2}"
_MARK = r"[ ]?(?:[|│;,>]{1,2}|:|-{1,2}>?|→)"
_PLAIN_STAMP = rf"(?:{_OPEN}{_TIME}(?:[ ,/|]{{1,4}}{_TIME})?{_CLOSE}|{_TIME}{_AFTER})"
_MARKED_STAMP = rf"(?:{_OPEN}{_TIME}(?:[ ,/|]{{1,4}}{_TIME})?{_CLOSE}{_MARK}|{_TIME}{_MARK}{_AFTER})"
STAMPS: Final = (_PLAIN_STAMP, _MARKED_STAMP)
"""Patterns of a time stamp at the beginning of a line, in whatever format: without and with a separator behind it.

A separator is never optional: where it is missing, a text that begins with one would lose it.
"""

_NAME = r"(?=[\w.@/-]{0,127}[A-Za-z])[A-Za-z0-9_][\w.@/-]{0,127}"  # a number is no name
_LEVEL = (
    r"(?:[\[(<]?[ ]{0,5})(?:TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERR(?:OR)?|CRIT(?:ICAL)?|FATAL"
    r"|[Tt]race|[Dd]ebug|[Ii]nfo|[Nn]otice|[Ww]arn(?:ing)?|[Ee]rror|[Cc]ritical|[Ff]atal|[DIWEF](?!\w))(?:[ ]{0,5}[\])>])?"
)
# Loggers pad levels to one width, so the blanks behind a level depend on it.
_PADDED_LEVEL = rf"(?P<level>{_LEVEL})"
_LOGGER = r"[\[(]?[A-Za-z_][\w./-]{0,127}(?::[\w.<>-]{1,64}){0,3}[\])]?"
_SPACE = r"(?:[ ]{0,8}[-:|,][ ]{0,8}|[ ]{1,8})"
_SD = r"(?:-|(?:\[[^\]\"\n]{0,1024}(?:\"(?:[^\"\\\n]|\\.){0,4096}+\"[^\]\"\n]{0,256}){0,64}+\])+)"


@dataclass(frozen=True, slots=True)
class Format:
    """One wrapper.

    Attributes:
        name: As verdicts show it.
        setting: As the setting `input.format` names it.
        pattern: The prefix. Its group `service` names what wrote the line; `host` and `stream` belong to it. A line with
            a group `open` goes on in the next one, a line with a group `more` continues the one before.
        certain: Its lines cannot be anything else, so it comes off even if the bundle does not know the text inside.
        services: Whether each service becomes a source of its own: always, if the first lines name several, or never.
        marks: Lines that the collector adds; models do not read them.
    """

    name: str
    setting: str
    pattern: str
    certain: bool = False
    services: Literal["always", "several", "never"] = "never"
    marks: str = ""


FORMATS: Final = (
    Format(
        "CRI",
        "cri",
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)[ ](?P<stream>stdout|stderr)[ ](?:(?P<open>P)|F)"
        r"(?::[^ ]{0,64})?" + _AFTER,
        certain=True,
    ),
    Format(
        "GitLab",
        "gitlab",
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z[ ](?P<stream>[0-9a-f]{2}[OE])(?:(?P<more>\+)|[ ]|$)",
        certain=True,
        marks=r"section_(?:start|end):\d",
    ),
    Format(
        "GitHub Actions",
        "github-actions",
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z" + _AFTER,
        certain=True,
        marks=r"##\[(?:group|endgroup|section|command|debug)\]",
    ),
    Format(
        "gh run view",
        "github-actions",
        r"[^\t\n]{1,255}\t[^\t\n]{1,255}\t\ufeff?(?=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z" + _AFTER + ")",
        certain=True,
    ),
    Format(
        "syslog (RFC 5424)",
        "syslog",
        rf"(?:<\d{{1,3}}>)?1[ ](?:-|{_ISO})[ ](?P<host>[^ ]{{1,255}})[ ](?P<service>[^ ]{{1,48}})[ ]"
        r"[^ ]{1,128}[ ][^ ]{1,32}[ ]" + _SD + r"(?:[ ]?\ufeff)?",
        certain=True,
        services="several",
    ),
    Format(
        "syslog",
        "syslog",
        rf"(?:<\d{{1,3}}>)?(?:{_MONTH}[ ]{{1,2}}\d\d?(?:[ ]\d{{4}})?[ ]\d\d:\d\d:\d\d(?:\.\d{{1,9}})?(?:[ ][A-Z]{{3,4}})?"
        rf"|{_ISO}|\[[ ]{{0,12}}\d{{1,12}}\.\d{{1,9}}\])[ ]{{1,2}}(?P<host>[^ \[\]|]{{1,255}})[ ]"
        r"(?P<service>[^ :\[\]\t]{1,128})(?:\[[\w.-]{1,32}\])?:",
        services="several",
    ),
    Format("kubectl", "kubectl", r"\[(?:pod/)(?P<service>[\w.-]{1,253}/[\w.-]{1,253})\]", certain=True, services="always"),
    Format("docker compose", "compose", rf"(?P<service>{_NAME})[ \t]{{0,64}}[|│┃]{_AFTER}", certain=True, services="always"),
    *(
        Format(
            "stern",
            "stern",
            r"(?P<service>[a-z0-9]{1,63}(?:[.-][a-z0-9]{1,63}){1,32}[ ](?:[›|>][ ])?[a-z0-9][a-z0-9-]{0,62})" + end + _AFTER,
            services="always",
        )
        for end in ("", "[ ]?[›|>]")
    ),
    Format("Jenkins timestamper", "jenkins", rf"\[{_ISO}\]", certain=False),
    Format(
        "TeamCity", "timestamps", r"\[\d\d:\d\d:\d\d\][ ]?[A-Za-z]?[ ]?:[ \t]{1,3}\[Step \d{1,3}/\d{1,3}\]", certain=True
    ),
    *(Format("time stamps", "timestamps", stamp) for stamp in STAMPS),
    Format("time stamps", "timestamps", r"[ ]{0,16}" + _PLAIN_STAMP),  # aligned to the right
    Format("pytest", "pytest", rf"{_LEVEL}[ ]{{1,8}}[\w.]{{1,128}}:[\w.<>/-]{{1,128}}:\d{{1,6}}"),
    Format("Robot Framework", "robot", rf"{_PLAIN_STAMP}[ ]{{1,2}}(?:-[ ]|\|[ ])?{_LEVEL}[ ]{{1,8}}[-|]{_AFTER}"),
    Format("logger", "logger", rf"{_LEVEL}:[\w.]{{1,128}}:"),
    *(
        Format(
            "logger",
            "logger",
            rf"(?:[-|:][ ]{{1,2}})?(?:{_LOGGER}{_SPACE}{_PADDED_LEVEL}|{_LEVEL}{_SPACE}{_LOGGER}){end}{_AFTER}",
        )
        for end in ("", r"[ ]{0,4}[-:|>]{1,2}")
    ),
    *(
        Format("levels", "logger", rf"(?:[-|:][ ]{{1,2}})?{_PADDED_LEVEL}{end}{_AFTER}")
        for end in ("", r"[ ]{0,4}[-:|>]{1,2}")
    ),
    Format("line numbers", "line-numbers", rf"[ ]{{0,16}}\d{{1,9}}{_AFTER}"),
    Format("line numbers", "line-numbers", rf"[ ]{{0,16}}\d{{1,9}}[ ]?[|│:.)-]{_AFTER}"),
    Format("grep", "grep", r"\d{1,9}[:-]"),
    Format(
        "grep", "grep", rf"(?P<service>{_NAME}):\d{{1,9}}[:-]|(?P<service2>{_NAME}\.[A-Za-z]{{1,5}}):", services="always"
    ),
    *(
        Format("ids", "pids", rf"[\[(<]?(?:0x)?[0-9A-Fa-f]{{4,32}}(?:-[0-9A-Fa-f]{{4,12}}){{0,4}}[\])>]?{end}{_AFTER}")
        for end in ("", ":")
    ),
    Format("service names", "services", rf"[\[(<{{](?P<service>{_NAME})[\])>}}]{_AFTER}", services="several"),
    Format(
        "service names",
        "services",
        rf"(?:[\[(<{{](?P<service>{_NAME})[\])>}}]:|(?P<service2>{_NAME})[ ]{{0,64}}(?:::|[»›→]|-?>{{1,2}}|:|\|)){_AFTER}",
        services="several",
    ),
    *(Format("process ids", "pids", rf"[\[(<]?(?:pid[ =:]?)?\d{{1,10}}[\])>]?{end}{_AFTER}") for end in ("", ":")),
)
"""In the order in which they win ties."""

JSON_FORMAT: Final = Format("docker json-file", "docker-json", "", certain=True, services="several")

FORMAT_NAMES: Final = ("auto", "none", *dict.fromkeys([JSON_FORMAT.setting, *(kind.setting for kind in FORMATS)]))
"""Values of the setting `input.format`."""
