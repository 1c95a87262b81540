"""Redacted lines in, matches of hand-written rules out: what an engineer knows for certain, beside the model.

A rules file is TOML:

    [[rule]]
    name = "licence-refused"
    pattern = "Not licensed for"
    label = "L3"
    veto = true
    note = "the tester had no licence for this many UEs"

A rule counts once per run, and a line that matches `cleared_by` takes back the matches before it. `weight` is added to the
log-odds of its label (2.2 makes it 9 times as likely). `veto` sets the label whatever the model says. With neither of them,
the rule states a `cause` alone. `test_case` and `source` limit a rule by shell patterns. A bundle may contain rules too, in
the same form.
"""

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from stream_triage.errors import SettingsError

__all__ = ["RULES_NAME", "HandRule", "RuleHit", "RuleState", "Rules"]

RULES_NAME = "rules.toml"
"""Name of the file of rules in a bundle."""

TEST_CASE_HEADER: Final = "test.case.name"


class HandRule(BaseModel):
    """One `[[rule]]` of a rules file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    pattern: str = Field(min_length=1, description="regular expression, searched in each redacted line")
    label: str
    weight: float | None = Field(
        default=None, allow_inf_nan=False, description="added to the log-odds of the label; below zero speaks against"
    )
    veto: bool = Field(default=False, description="the run gets the label whatever the model says")
    times: int = Field(default=1, ge=1, description="lines of the run that must match before the rule counts")
    cleared_by: str | None = Field(
        default=None,
        min_length=1,
        description="regular expression of lines that take back the matches before them, since what failed has recovered",
    )
    test_case: str = Field(default="*", description="shell pattern on the header test.case.name")
    source: str = Field(default="*", description="shell pattern on the name of the source")
    cause: Literal["product", "environment", "script"] | None = None
    note: str = ""

    @field_validator("pattern", "cleared_by")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _says_something(self) -> "HandRule":
        if self.veto and self.weight is not None:
            raise ValueError("has both a weight and veto = true; remove one")
        if not self.veto and self.weight is None and self.cause is None:
            raise ValueError("needs a weight, veto = true or a cause")
        return self

    @property
    def decides(self) -> bool:
        """Whether it has a say in the label; other rules only state a cause."""
        return self.veto or self.weight is not None


class RuleHit(NamedTuple):
    """A rule that matched: its first line, and how many lines of the run match. Lines that were cleared do not count."""

    rule: HandRule
    source: str
    number: int
    lines: int


class RuleState:
    """Of one source: the rules that apply to it, and the first line and number of matching lines of every rule."""

    __slots__ = ("active", "counts", "first_lines")

    def __init__(self, active: Sequence[int], rules: int) -> None:
        self.active = tuple(active)
        self.counts = [0] * rules
        self.first_lines = [0] * rules


class Rules:
    """The rules of one file, in its order."""

    def __init__(self, rules: Sequence[HandRule] = ()) -> None:
        self.rules = tuple(rules)
        self._searches = [re.compile(rule.pattern).search for rule in rules]
        self._clears = [re.compile(rule.cleared_by).search if rule.cleared_by else None for rule in rules]

    @classmethod
    def read(cls, path: Path) -> "Rules":
        """From a rules file. Raises `SettingsError` that names file, rule and fault."""
        try:
            return cls.parse(path.read_bytes(), path)
        except OSError as error:
            raise SettingsError(f"rules file {path} cannot be read: {error.strerror}") from None

    @classmethod
    def parse(cls, content: bytes, path: Path | str) -> "Rules":
        """From the content of a rules file; `path` is how errors name it."""
        try:
            tables = tomllib.loads(content.decode())
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"rules file {path} is not valid TOML: {error}") from None
        entries = tables.get("rule", [])
        if set(tables) - {"rule"} or not isinstance(entries, list):
            raise SettingsError(f"rules file {path} may hold [[rule]] tables only")
        rules = [_read_rule(path, i, entry) for i, entry in enumerate(entries, 1)]
        names = [rule.name for rule in rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SettingsError(f"rules file {path} has two rules called {twice[0]!r}; rename one")
        return cls(rules)

    def before(self, others: "Rules") -> "Rules":
        """These rules, then the others; of rules with the same name, the first one stays."""
        names = {rule.name for rule in self.rules}
        return Rules([*self.rules, *(rule for rule in others.rules if rule.name not in names)])

    def of_labels(self, labels: Collection[str]) -> "Rules":
        """Those whose label a bundle has."""
        return Rules([rule for rule in self.rules if rule.label in labels])

    def check_labels(self, labels: Collection[str]) -> None:
        """Raises `SettingsError` for a rule whose label the bundle does not have."""
        for rule in self.rules:
            if rule.label not in labels:
                raise SettingsError(f"rule {rule.name!r} has label {rule.label!r}; the bundle has {', '.join(labels)}")

    def start(self, source: str, headers: Mapping[str, str]) -> RuleState:
        """The state of a source before its first line. Which rules apply is decided here, by the headers so far."""
        test_case = headers.get(TEST_CASE_HEADER, "")
        active = [
            i
            for i, rule in enumerate(self.rules)
            if fnmatchcase(source, rule.source) and fnmatchcase(test_case, rule.test_case)
        ]
        return RuleState(active, len(self.rules))

    def update(self, state: RuleState, lines: Sequence[str], first_number: int) -> None:
        """Takes the next redacted lines of a source."""
        for i in state.active:
            search, clears = self._searches[i], self._clears[i]
            hits = [number for number, line in enumerate(lines, first_number) if search(line)]
            if clears and (hits or state.counts[i]):
                cleared = max((number for number, line in enumerate(lines, first_number) if clears(line)), default=0)
                if cleared:
                    state.counts[i] = state.first_lines[i] = 0
                    hits = [number for number in hits if number > cleared]
            if hits:
                state.first_lines[i] = state.first_lines[i] or hits[0]
                state.counts[i] += len(hits)

    def finish(self, states: Mapping[str, RuleState]) -> list[RuleHit]:
        """Rules that matched, in their order; each is quoted from the first source, by name, in which it matched."""
        hits = []
        for i, rule in enumerate(self.rules):
            matching = [(source, state) for source, state in sorted(states.items()) if state.counts[i]]
            lines = sum(state.counts[i] for _, state in matching)
            if lines >= rule.times:
                source, state = matching[0]
                hits.append(RuleHit(rule, source, state.first_lines[i], lines))
        return hits


def _read_rule(path: Path | str, position: int, entry: object) -> HandRule:
    try:
        return HandRule.model_validate(entry)
    except ValidationError as error:
        name = entry.get("name", f"number {position}") if isinstance(entry, dict) else f"number {position}"
        first = error.errors(include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise SettingsError(f"rules file {path}, rule {name}: {field + ': ' if field else ''}{first['msg']}") from None
