"""Crude features of a log: what can be told without reading what its records say.

Each is read from the text alone, as a model would see it, except for the facts that a model may guess (campaign, vocabulary,
technology, script), which are taken from the habits.
"""

import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from training.varied.generate import GeneratedRun

__all__ = ["crude_features"]

ERROR_WORDS: Final = re.compile(
    r"(?i)error|fail|reject|expir|assert|timeout|timed out|run out|lost|loss|late\b|warning|discard|drop|exceed|refus|"
    r"invalid|mismatch|wrong|damaged|nok\b|state=expired|unknown|not "
)
# What a wrapper or a stamp leaves in front of a payload is skipped.
KINDS: Final = (
    ("L1", re.compile(r"I: CMPI L1 ")), ("L2", re.compile(r"I: CMPI L2 ")), ("RRC", re.compile(r"I: CMPI RRC ")),
    ("NAS", re.compile(r"I: CMPI MTE ")), ("DTE", re.compile(r"I: CMPI DTE ")), ("RU", re.compile(r"I: CMPI ORAN_RU ")),
    ("ERNO", re.compile(r"I: ERNO ")), ("TMAE", re.compile(r"I: TMAE ")), ("REBOOT", re.compile(r"I: REBOOT ")),
    ("confirmation", re.compile(r"\bC: [A-Z]+ 0")), ("forward", re.compile(r"(?i)\bforw mte ")),
    ("control", re.compile(r"#\$\$")), ("wait", re.compile(r"\bWAIT FOR ")),
)  # fmt: skip
_REFUSED: Final = re.compile(r"\bC: [A-Z]+ 0x0[246] ")
_UE: Final = re.compile(r"(?i)\bue ?id: ?(\d+)")
_CLOCK: Final = re.compile(r"(\d\d):(\d\d):(\d\d)[:.](\d{3})")
_STATISTICS: Final = re.compile(r"(?i)GETSTATS|GETRUSTATS|GETRRCSTATS|GETNASSTATS")


_NUMBERS: Final = re.compile(r"0x[0-9A-Fa-f]+|\d+")


@lru_cache(maxsize=200_000)
def _kind(line: str) -> str:
    return next((name for name, pattern in KINDS if pattern.search(line)), "other")


@lru_cache(maxsize=200_000)
def _has_error_word(line: str) -> bool:
    return bool(ERROR_WORDS.search(line))


def crude_features(run: GeneratedRun) -> Mapping[str, float | str]:
    """The crude features of a run by name: numbers, or texts where there is no order."""
    text = run.text.decode(errors="replace")
    lines = text.splitlines()
    # Lines without their numbers are few: what is known of them is found once.
    reduced = [_NUMBERS.sub("0", line) for line in lines]
    kinds = [_kind(line) for line in reduced]
    counts = Counter(kinds)
    records = sum(count for kind, count in counts.items() if kind != "other")
    errors = [_has_error_word(line) for line in reduced]
    clocks = [_CLOCK.search(lines[place]) for place in (0, -1)]
    habits = run.habits
    return {
        "characters": len(text),
        "lines": len(lines),
        "distinct lines": len(set(reduced)),
        "kind of the first line": kinds[0],
        "kind of the last line": kinds[-1],
        "last line has an error word": errors[-1],
        "share of the last 50 lines with an error word": sum(errors[-50:]) / len(errors[-50:]),
        "stop section": "MTSCLEARMTS" in text.upper(),
        "disconnected": "#$$DISCONNECT" in text,
        "queries for statistics": len(_STATISTICS.findall(text)),
        "refused commands": len(_REFUSED.findall(text)),
        "lines with an error word": sum(errors),
        "share of lines with an error word": sum(errors) / len(lines),
        "UEs": len(set(_UE.findall(text))),
        "UEs of the script": habits.ues,
        "seconds": _seconds(clocks[0], clocks[1]),
        **{f"share of {kind}": counts[kind] / max(records, 1) for kind, _ in KINDS},
        **{f"records of {kind}": counts[kind] for kind, _ in KINDS},
        "begins late": habits.start,
        "ends early": habits.end < 1,
        "campaign": habits.campaign,
        "vocabulary": habits.vocabulary,
        "technology": habits.rat,
        "script": habits.script.name,
        "wrapper": habits.wrapper,
        "layers shown": "+".join(sorted(habits.shown)),
        "troubles": habits.troubles,
        "firmware": habits.firmware,
    }


def _seconds(first: re.Match[str] | None, last: re.Match[str] | None) -> float:
    """The time that a log spans, in seconds, or -1 if it has no time stamps."""
    if not first or not last:
        return -1.0
    factors = (3600, 60, 1, 0.001)
    begin, end = (
        sum(int(part) * factor for part, factor in zip(match.groups(), factors, strict=True)) for match in (first, last)
    )
    return (end - begin) % 86_400
