"""Settings of what happens on this machine: input, redaction, store, archive and JSON Lines file."""

from fnmatch import fnmatchcase as fnmatch
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from stream_triage.settings.section import Encoding, HomePath, OrOff, Pattern, Section, default_data_folder

__all__ = [
    "ArchiveSettings",
    "FollowSettings",
    "InputSettings",
    "JsonlSettings",
    "OwnPattern",
    "RedactionSettings",
    "StoreSettings",
]


class InputSettings(Section):
    """How input is read and divided into runs."""

    line_bytes: int = Field(
        default=65_536,
        ge=256,
        description="Longest line that is kept, in bytes. The rest of a longer line is dropped, and the verdict says so.",
    )
    encoding: Encoding = Field(
        default="auto",
        description=(
            "Encoding of the text in files, on standard input and in Kafka messages that are not JSON, by a name that "
            "Python knows, such as `cp1252`, `gb18030` or `shift_jis`. With `auto`, UTF-8, UTF-16 and UTF-32 are "
            "recognised, and other encodings where UTF-8 fails and there is little doubt. UTF-16 and UTF-32 are also "
            "recognised beside an encoding that is set, if that is a superset of ASCII."
        ),
    )
    run_by: Literal["file", "folder"] = Field(
        default="file",
        description=(
            "What one run is. With `file`, each file is a run. With `folder`, each folder is a run, and its files "
            "are the sources of the run."
        ),
    )
    format: Literal[
        "auto",
        "none",
        "docker-json",
        "cri",
        "gitlab",
        "github-actions",
        "syslog",
        "kubectl",
        "compose",
        "stern",
        "jenkins",
        "timestamps",
        "pytest",
        "robot",
        "logger",
        "line-numbers",
        "grep",
        "pids",
        "services",
    ] = Field(
        default="auto",
        description=(
            "What a collector put around each line, such as the time stamp of a CI system or the JSON of docker. It is "
            "taken off before the lines are judged. With `auto` it is recognised from the first lines of each source, with "
            "`none` nothing is taken off, and with a name this wrapper is taken off whatever the bundle knows."
        ),
    )
    max_expansion: int = Field(
        default=250,
        ge=2,
        description=("Reading stops when a compressed file or archive has unpacked to more than this many times its size."),
    )
    expansion_floor_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=0,
        description="Up to this many unpacked bytes, `max_expansion` is not checked.",
    )
    pass_over: tuple[str, ...] = Field(
        default=(),
        description=(
            "Shell patterns for the names of files and members of archives that contain no log and are passed over, for "
            'example `["*.qmdl", "*.isf"]`. Pictures, programs, packet captures and the like need no pattern '
            "([lab.md](lab.md#what-is-read))."
        ),
    )

    def passes_over(self, name: str) -> bool:
        """Whether a file of this name, without its folder, is passed over."""
        return any(fnmatch(name, pattern) for pattern in self.pass_over)


class FollowSettings(Section):
    """When `run --follow` ends a run."""

    idle_seconds: float = Field(
        default=60.0, gt=0, description="A run ends when its files have not grown for this many seconds."
    )
    end_pattern: Pattern = Field(
        default=None,
        description="A run ends at a line that matches this regular expression. If it is not set, no line ends a run.",
    )
    poll_seconds: float = Field(
        default=0.5, gt=0, description="Interval in seconds at which files are checked for new text."
    )


class OwnPattern(Section):
    """A kind of secret that the built-in redaction does not know."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9-]*$",
        description="Name of the kind of secret. The text shows it in place of the secret, as `<name>`.",
    )
    pattern: str = Field(
        description="Regular expression for the secret. If it has a group called `secret`, only that group is replaced."
    )


class RedactionSettings(Section):
    """What is removed besides the built-in kinds of secrets and subscriber identities (docs/privacy.md)."""

    patterns: tuple[OwnPattern, ...] = Field(
        default=(),
        description="Further secrets to remove, as tables `[[redaction.patterns]]` with `name` and `pattern`.",
    )
    pseudonym_key: SecretStr | None = Field(
        default=None,
        description=(
            "Secret key with which identities become stable pseudonyms such as `<imsi:1a2b3c4d>`, the same in all "
            "runs. If it is not set, they become markers such as `<imsi>`."
        ),
    )


class StoreSettings(Section):
    """The SQLite store of verdicts."""

    path: HomePath = Field(
        default_factory=lambda: default_data_folder() / "verdicts.sqlite", description="File of the store."
    )
    max_age_days: float | None = Field(
        default=None,
        gt=0,
        description=(
            "`stream-triage prune` deletes runs that are older than this many days. If it is not set, age does not matter."
        ),
    )
    max_runs: int | None = Field(
        default=None,
        ge=1,
        description="`stream-triage prune` keeps this many of the newest runs. If it is not set, it keeps any number.",
    )


class ArchiveSettings(Section):
    """The archive of the redacted texts, which `show --full` prints."""

    folder: HomePath = Field(default_factory=lambda: default_data_folder() / "archive", description="Folder of the archive.")
    max_age_days: Annotated[float | None, OrOff] = Field(
        default=90.0,
        gt=0,
        description="`stream-triage prune` deletes texts that are older than this many days. `off`: age does not matter.",
    )
    max_bytes: Annotated[int | None, OrOff] = Field(
        default=10 * 1024**3,
        ge=1,
        description=(
            "`stream-triage prune` deletes the oldest texts until the archive has at most this many bytes. `off`: size does "
            "not matter."
        ),
    )


class JsonlSettings(Section):
    """The file of the sink `jsonl`."""

    path: HomePath = Field(
        default_factory=lambda: default_data_folder() / "verdicts.jsonl",
        description="File that verdicts are appended to, one JSON object on each line.",
    )
