"""TOML files in, checked tables out: the dialects of logs, and the procedures of 3GPP that their lines are about.

docs/dialects.md describes the files for those who write one.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from stream_triage.errors import SettingsError

__all__ = [
    "LAYERS",
    "STEPS",
    "DialectTable",
    "Layer",
    "Procedure",
    "ProcedureTable",
    "Reading",
    "Step",
    "Value",
    "load_dialect",
    "packaged_dialects",
    "procedures",
]

Layer = Literal["l1", "l2", "rrc", "nas", "core", "tester", "data"]
LAYERS: Final[tuple[Layer, ...]] = ("l1", "l2", "rrc", "nas", "core", "tester", "data")
"""The protocol stack from the bottom up; what connects network functions; the tester itself; its data and its script."""
Step = Literal["begun", "completed", "refused", "failed", "retried", "lost"]
STEPS: Final[tuple[Step, ...]] = ("begun", "completed", "refused", "failed", "retried", "lost")
FILES: Final = files("stream_triage.dialects")


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return text


def _phrases(phrases: tuple[str, ...]) -> tuple[str, ...]:
    for phrase in phrases:
        if not re.search(r"\w", phrase):
            raise ValueError(f"{phrase!r} has no word")
    return phrases


Pattern = Annotated[str, AfterValidator(_pattern)]
Phrases = Annotated[tuple[str, ...], AfterValidator(_phrases)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Procedure(_Table):
    """A procedure: its layer, whose it is, and what it makes due. One entry of `procedures.toml`."""

    layer: Layer
    of: Literal["ue", "node"] = "ue"
    forces: str = Field(default="", description="the procedure that must follow when this one was completed")
    proves: tuple[str, ...] = Field(default=(), description="procedures that have certainly been completed if this one was")
    times: int = Field(default=1, ge=1, description="how often a bad step must come before it counts")
    asks_for: str = Field(default="", description="the procedure that this one asks for: its absence explains a lost link")
    undone_by: tuple[str, ...] = Field(
        default=(), description="procedures after which a bad step no longer counts; those of any UE for a node"
    )
    strikes_ues: bool = Field(default=False, description="of a node: whether no UE can work after a bad step")
    words: dict[str, str] = Field(default_factory=dict, description="by step, the predicate of a sentence about it")


class Value(_Table):
    """A value that logs state: which direction is worse, and where trouble begins. An entry of `[values]`."""

    layer: Layer | None = None
    worse: Literal["high", "low"]
    limit: float | None = None
    of: Literal["ue", "node"] = "ue"
    scale: Literal["", "digits"] = Field(default="", description="`digits`: long counters count by their number of digits")
    words: str = ""

    @model_validator(mode="after")
    def _limit_has_a_layer(self) -> "Value":
        if (self.limit is None) != (self.layer is None):
            raise ValueError("a limit needs a layer, and a layer a limit")
        return self

    def beyond(self, value: float) -> bool:
        """Whether a value is a sign of trouble."""
        if self.limit is None:
            return False
        return value >= self.limit if self.worse == "high" else value <= self.limit


class Reading(_Table):
    """Where a record states a value. An entry of `[readings]`."""

    phrase: str = Field(description="a phrase that the record has")
    pattern: Pattern = Field(description="a pattern for the raw line; its first group is the number")


class ProcedureTable(_Table):
    """`procedures.toml`: the procedures, and the words of trouble in any dialect."""

    labels: dict[Layer, str]
    procedures: dict[str, Procedure]
    values: dict[str, Value]
    trouble: Phrases
    harmless: Phrases

    @model_validator(mode="after")
    def _named_procedures_exist(self) -> "ProcedureTable":
        for name, procedure in self.procedures.items():
            for other in filter(None, (procedure.forces, procedure.asks_for, *procedure.proves, *procedure.undone_by)):
                if other not in self.procedures:
                    raise ValueError(f"{name} names the procedure {other!r}, which is not in the table")
        return self

    def split(self, event: str) -> tuple[str, Step]:
        """Procedure and step of an event such as `random access completed`. Raises `ValueError`."""
        name, _, step = event.rpartition(" ")
        if name not in self.procedures:
            raise ValueError(f"{event!r}: there is no procedure {name!r}; there are {', '.join(self.procedures)}")
        if step not in STEPS:
            raise ValueError(f"{event!r}: {step!r} is no step; steps are {', '.join(STEPS)}")
        return name, step


class DialectTable(_Table):
    """One dialect: how its lines begin, whom they are about, and which phrases are which events."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    records: tuple[Pattern, ...] = Field(
        min_length=1,
        description="how a masked line begins that begins a record; the groups `module` and `level` name them",
    )
    continued: Pattern = Field(default=r"^\s", description="how a masked line begins that continues the record above it")
    modules: dict[str, Layer] = Field(default_factory=dict, description="module, in lower case, to layer")
    levels: tuple[str, ...] = Field(default=(), description="log levels, in lower case, that mean trouble by themselves")
    entities: tuple[Pattern, ...] = Field(
        default=(), description="where a line names a UE; the first group that matched is its id, the group's name its kind"
    )
    sets_up: tuple[Pattern, ...] = Field(
        default=(), description="where a command sets up UEs: the group `ues` holds their numbers, such as `0-3,7`"
    )
    shows: tuple[str, ...] = Field(
        default=(), description="procedures that the log always shows where a UE comes to them: their absence counts"
    )
    events: dict[str, Phrases] = Field(default_factory=dict, description="events in records of the modules above")
    commands: dict[str, Phrases] = Field(
        default_factory=dict, description="events in records of other modules, such as what a script sends"
    )
    plain: dict[str, Phrases] = Field(default_factory=dict, description="events in lines that begin no record")
    places: dict[Layer, tuple[str, ...]] = Field(
        default_factory=dict, description="layer to parts of source file names: where a process stopped"
    )
    bodies: dict[str, dict[str, Phrases]] = Field(
        default_factory=dict, description="what a continued line makes of the event of its record"
    )
    harmless: Phrases = Field(default=(), description="phrases of records that are no trouble although their words say so")
    tables: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="heading of a table to values, each made from its columns: `bler`, or `retx / tbs`"
    )
    counters: dict[str, Phrases] = Field(default_factory=dict, description="value to records that end in it")
    readings: dict[str, Reading] = Field(default_factory=dict, description="value to where a record states it")
    examples: dict[str, str] = Field(default_factory=dict, description="raw line to the event that it must give")

    @model_validator(mode="after")
    def _events_exist(self) -> "DialectTable":
        table = procedures()
        bodies = (event for body in self.bodies.values() for event in body)
        for event in (*self.events, *self.commands, *self.plain, *self.bodies, *bodies):
            table.split(event)
        for name in self.shows:
            if name not in table.procedures:
                raise ValueError(f"shows: there is no procedure {name!r}")
        stated = (value for columns in self.tables.values() for value in columns)
        for name in (*stated, *self.counters, *self.readings):
            if name not in table.values:
                raise ValueError(f"there is no value {name!r}; there are {', '.join(table.values)}")
        return self


@cache
def procedures() -> ProcedureTable:
    """The procedures of the package."""
    return ProcedureTable.model_validate(tomllib.loads((FILES / "procedures.toml").read_text(encoding="utf-8")))


@cache
def packaged_dialects() -> tuple[DialectTable, ...]:
    """The dialects of the package, by name."""
    names = sorted(file.name for file in FILES.iterdir() if file.name.endswith(".toml") and file.name != "procedures.toml")
    return tuple(_checked(tomllib.loads((FILES / name).read_text(encoding="utf-8")), name) for name in names)


def load_dialect(path: Path) -> DialectTable:
    """A user's own dialect.

    Raises:
        SettingsError: The file cannot be read, is not TOML, or is no dialect; the message says where.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"dialect {path} cannot be read: {error.strerror}; check the setting dialects") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"dialect {path} is not TOML: {error}") from None
    return _checked(data, str(path))


def _checked(data: Mapping[str, Any], name: str) -> DialectTable:
    try:
        return DialectTable.model_validate(data)
    except ValidationError as error:
        raise SettingsError(f"dialect {name}: {'; '.join(_reasons(error.errors()))}") from None


def _reasons(errors: Iterable[Any]) -> Iterable[str]:
    for error in errors:
        place = ".".join(str(part) for part in error["loc"])
        yield f"{place}: {error['msg']}" if place else error["msg"]
