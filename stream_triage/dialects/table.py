"""Content of TOML files in, checked tables out: the dialects of logs, and the procedures of 3GPP that their lines are about.

docs/dialects.md describes the files for those who write one. Whatever a table that passes these checks says, no line of a
log makes the reader fail.
"""

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from stream_triage.dialects.checks import (
    Beginning,
    Columns,
    Entity,
    Module,
    Pattern,
    Phrase,
    Phrases,
    ReadingPattern,
    UeNumbers,
    Words,
)
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
    "checked_dialect",
    "packaged_dialects",
    "procedures",
]

Layer = Literal["l1", "l2", "rrc", "nas", "core", "tester", "data"]
LAYERS: Final[tuple[Layer, ...]] = ("l1", "l2", "rrc", "nas", "core", "tester", "data")
"""The protocol stack from the bottom up; what connects network functions; the tester itself; its data and its script."""
Step = Literal["begun", "completed", "refused", "failed", "retried", "lost"]
STEPS: Final[tuple[Step, ...]] = ("begun", "completed", "refused", "failed", "retried", "lost")
FILES: Final = files("stream_triage.dialects")


def _break(step: str) -> str:
    if step not in {*STEPS, "missing"}:
        raise ValueError(f"{step!r} is no step; there are {', '.join(STEPS)}, and missing")
    return step


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Procedure(_Table):
    """A procedure: its layer, whose it is, and what it makes due. An entry of `[procedures]`."""

    layer: Layer
    of: Literal["ue", "node"] = "ue"
    forces: str = Field(default="", description="the procedure that must follow when this one was completed")
    forces_if_begun: bool = Field(default=False, description="whether it forces that only if the log shows its begin")
    proves: tuple[str, ...] = Field(default=(), description="procedures that have certainly been completed if this one was")
    times: int = Field(default=1, ge=1, description="how often a bad step must come before it counts")
    asks_for: str = Field(default="", description="the procedure that this one asks for: its absence explains a lost link")
    undone_by: tuple[str, ...] = Field(
        default=(), description="procedures after which a bad step no longer counts; those of any UE for a node"
    )
    strikes_ues: bool = Field(default=False, description="of a node: whether no UE can work after a bad step")
    words: dict[Annotated[str, AfterValidator(_break)], Words] = Field(
        default_factory=dict, description="by step, the sentence about it; `{who}` stands for the UEs or the node"
    )

    @property
    def others(self) -> tuple[str, ...]:
        """Names of the procedures that this one refers to."""
        return tuple(name for name in (self.forces, self.asks_for, *self.proves, *self.undone_by) if name)


class Value(_Table):
    """A value that logs state: which direction is worse, and where trouble begins. An entry of `[values]`."""

    layer: Layer | None = None
    worse: Literal["high", "low"]
    limit: float | None = None
    of: Literal["ue", "node"] = "ue"
    most: float = Field(default=math.inf, description="the largest value that is possible; larger ones are not read")
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

    phrase: Phrase = Field(description="a phrase that the record has")
    pattern: ReadingPattern = Field(description="for the raw line; the first group is the number")


class ProcedureTable(_Table):
    """`procedures.toml`: the procedures, and the words of trouble in any dialect."""

    labels: dict[Layer, str]
    procedures: dict[str, Procedure]
    values: dict[str, Value]
    trouble: Phrases = Field(description="phrases that say that something is wrong, wherever a line has them")
    trouble_unless_named: Phrases = Field(description="the same in records, where they are no part of a name or denial")
    harmless: Phrases

    @model_validator(mode="after")
    def _named_procedures_exist(self) -> "ProcedureTable":
        for name, procedure in self.procedures.items():
            for other in procedure.others:
                if other not in self.procedures:
                    raise ValueError(f"procedure {name!r} names the procedure {other!r}, which does not exist")
        return self

    def extended(self, own: Mapping[str, Procedure]) -> "ProcedureTable":
        """With the procedures of a user's own file behind these. Raises `ValueError`."""
        for name, procedure in own.items():
            if self.procedures.get(name, procedure) != procedure:
                raise ValueError(f"procedure {name!r} is defined already, with other properties; give yours another name")
            if unknown := [other for other in procedure.others if other not in self.procedures and other not in own]:
                raise ValueError(f"procedure {name!r} names the procedure {unknown[0]!r}, which does not exist")
        return self.model_copy(update={"procedures": {**self.procedures, **own}})

    def split(self, event: str) -> tuple[str, Step]:
        """Procedure and step of an event such as `random access completed`. Raises `ValueError`."""
        name, _, step = event.rpartition(" ")
        if event in self.procedures:
            raise ValueError(f"{event!r} needs a step, such as {event} completed; steps are {', '.join(STEPS)}")
        if name not in self.procedures:
            raise ValueError(f"{event!r}: there is no procedure {name!r}; there are {', '.join(self.procedures)}")
        if step not in STEPS:
            raise ValueError(f"{event!r}: {step!r} is no step; steps are {', '.join(STEPS)}")
        return name, step


class DialectTable(_Table):
    """One dialect: how its lines begin, whom they are about, and which phrases are which events."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    records: tuple[Beginning, ...] = Field(
        min_length=1,
        description="how a masked line begins that begins a record; the groups `module` and `level` name them",
    )
    continued: Pattern = Field(default=r"^\s", description="how a masked line begins that continues the record above it")
    modules: dict[Module, Layer] = Field(
        default_factory=dict, description="module to layer; the empty name stands for records without a module"
    )
    levels: tuple[Annotated[str, AfterValidator(str.lower)], ...] = Field(
        default=(), description="log levels that mean trouble by themselves"
    )
    entities: tuple[Entity, ...] = Field(
        default=(),
        description="where a line names a UE: the group that matched is its id, its name the kind of id",
    )
    sets_up: tuple[UeNumbers, ...] = Field(
        default=(), description="where a command sets up UEs: the group `ues` holds their numbers, such as `0-3,7`"
    )
    of_one_ue: bool = Field(
        default=True, description="whether a log that names no UE may be that of one UE; false for network functions"
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
    tables: dict[Phrase, dict[str, Columns]] = Field(
        default_factory=dict,
        description="heading of a table to values, each made from its columns: `bler`, or `retx, resent / tbs`",
    )
    counters: dict[str, Phrases] = Field(default_factory=dict, description="value to records that end in it")
    readings: dict[str, Reading] = Field(default_factory=dict, description="value to where a record states it")
    procedures: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9 /-]*[a-z0-9]$")], Procedure] = Field(
        default_factory=dict, description="procedures that `procedures.toml` does not have"
    )
    examples: dict[str, str] = Field(
        default_factory=dict, description="raw line to the event that it must give; empty for a record without an event"
    )

    @model_validator(mode="after")
    def _names_exist(self) -> "DialectTable":
        table = procedures().extended(self.procedures)
        bodies = (event for body in self.bodies.values() for event in body)
        examples = filter(None, self.examples.values())
        for event in (*self.events, *self.commands, *self.plain, *self.bodies, *bodies, *examples):
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
    others = ("procedures.toml", "lexicon.toml")
    names = sorted(file.name for file in FILES.iterdir() if file.name.endswith(".toml") and file.name not in others)
    return tuple(checked_dialect(tomllib.loads((FILES / name).read_text(encoding="utf-8")), name) for name in names)


def checked_dialect(data: Mapping[str, Any], name: str) -> DialectTable:
    """The table of a dialect file with this content. Raises `SettingsError`, which calls the file `name`."""
    try:
        return DialectTable.model_validate(data)
    except ValidationError as error:
        reasons = "; ".join(_reasons(error.errors(include_input=False)))
        raise SettingsError(f"dialect {name}: {reasons}; docs/dialects.md describes the keys") from None


def _reasons(errors: Sequence[Any]) -> Iterable[str]:
    places = [error["loc"] for error in errors]
    for error in errors:
        if any(place != error["loc"] and place[: len(error["loc"])] == error["loc"] for place in places):
            continue  # said of a list because of an element of it
        place = ".".join(str(part) for part in error["loc"] if part != "[key]")
        text = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            text = "there is no such key; keys of the file itself stand above the first [table]"
        elif error["type"] == "missing":
            text = "is missing"
        for of_python, of_toml in (("valid tuple", "list"), ("valid dictionary", "table")):
            text = text.replace(of_python, of_toml)
        yield f"{place}: {text}" if place else text
