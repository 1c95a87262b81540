"""A failing run and its outcome or cause go in, the numbers of the lines that state the cause come out.

`cause_lines.toml` lists the lines of OpenAirInterface outcomes. The cause lines of the corpus are the records that its
generator writes for the cause itself, with all their wordings; what follows from them is not among them.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from benchmarks.corpora import lines_of
from training.corpus.causes import CAUSES, Cause
from training.corpus.messages import MESSAGES

__all__ = ["Patterns", "cause_lines", "corpus_cause", "corpus_symptom", "oai_cause"]

Patterns = Mapping[str, re.Pattern[str]]
"""By source, what a line that states the cause matches; the source "" is any."""

_TABLE: Final = Path(__file__).with_name("cause_lines.toml")
_FIELD: Final = re.compile(r"\\{(\w+)\\}")
# Fields whose value tells a bad record from a healthy one of the same wording.
_VALUES: Final = {"badbler": r"(?:0\.(?:0[5-9]|[1-9])|1)\d*", "lowcqi": r"[0-7]\b"}
_BY_NAME: Final[Mapping[str, Cause]] = {cause.name: cause for cause in CAUSES}
# A cell search ends with the answer to its command, and the reason behind it.
_SEARCH: Final = (
    "RETURN CODE:8030",
    "RETURN CODE:15014",
    "System Information acquisition failed",
    "FreqLockInd not received",
)

# A row of GETSTATS with a high block error rate.
_BLER_ROW: Final = r"^\s+\d+ \d+ 0\.[2-9]"


def cause_lines(sources: Mapping[str, bytes], patterns: Patterns) -> set[tuple[str, int]]:
    """Source and number of the lines that state the cause; of an assertion, all lines up to the next blank one."""
    return {
        (source, number)
        for source, text in sources.items()
        for number in _numbers(lines_of(text), [pattern for name, pattern in patterns.items() if name in ("", source)])
    }


def _numbers(lines: Iterable[str], patterns: Iterable[re.Pattern[str]]) -> Iterator[int]:
    in_assertion = False
    for number, line in enumerate(lines, 1):
        states_cause = any(pattern.search(line) for pattern in patterns)
        in_assertion = (in_assertion and bool(line.strip())) or (states_cause and line.startswith("Assertion "))
        if states_cause or in_assertion:
            yield number


def oai_cause(outcome: str) -> Patterns | None:
    """For an outcome of an OpenAirInterface run; None if the table has no line for it."""
    return _compiled(_table()["oai"][outcome]) if outcome in _table()["oai"] else None


@cache
def corpus_cause(name: str) -> Patterns:
    """For a cause of the corpus."""
    listed = _table()["corpus"].get(name)
    if listed:
        return _compiled(listed)
    cause = _BY_NAME[name]
    patterns = [_wording(text, cause.values) for step in cause.steps for text in _texts([step.name])]
    if {"search_8030", "search_15014"} & {*cause.then}:
        patterns += map(re.escape, _SEARCH)
    patterns += [rf"\[{re.escape(counter)}\]: " for counter in cause.counters]
    if {"high_bler", "high_ul_bler", "pusch_nack"} & {step.name for step in cause.steps}:
        patterns.append(_BLER_ROW)
    return _compiled({"": patterns})


@cache
def corpus_symptom() -> Patterns:
    """For runs of the corpus that show their cause by what follows from it alone: any abnormal record."""
    names = [name for name, message in MESSAGES.items() if not message.healthy]
    return _compiled({"": [_wording(text, {}) for text in _texts([*names, "reest_start", "left"])]})


def _texts(names: Iterable[str]) -> list[str]:
    """First lines of the records with these names, and those of their further lines that state more than fields."""
    return [
        text
        for name in names
        if name in MESSAGES
        for wording in MESSAGES[name].wordings
        for number, text in enumerate(wording.split("|"))
        if number == 0 or not text.startswith((" ", "Pdu Session Id", "Pdn Id"))
    ]


def _wording(text: str, values: Mapping[str, Any]) -> str:
    """A wording as a pattern: each field matches any text, or the value that the cause gives it."""

    def field(match: re.Match[str]) -> str:
        name = match[1]
        return _VALUES.get(name) or (re.escape(str(values[name])) if name in values and name != "n" else ".*?")

    return _FIELD.sub(field, re.escape(text).replace(r"\ ", " "))


def _compiled(patterns: Mapping[str, Iterable[str]]) -> Patterns:
    return {source: re.compile("|".join(f"(?:{each})" for each in texts)) for source, texts in patterns.items()}


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(_TABLE.read_text(encoding="utf-8"))
