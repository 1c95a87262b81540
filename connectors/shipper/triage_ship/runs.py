"""A file in; the run it belongs to, with its headers, out."""

import hashlib
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triage_ship.cutter import Cutter
from triage_ship.headers import HEADER_OF_GROUP, PathPattern, hostname
from triage_ship.logfile import LogFile

__all__ = ["FollowOptions", "Position", "Runs", "Source"]

Position = dict[str, Any]
"""How far a file was read, as JSON in the spool. Its keys:

id: device and inode; birth: birth time; gen: which content of the file; base: the path, without a rotation suffix; offset,
crc, marks, gaps: what was sent (`Fingerprint.state`); done: whether its end was sent; mtime, modified: modification time in
seconds and nanoseconds; key: the run id; token: a suffix of the run id if the file is a run of its own; turn: how many runs
this one is with this key; source: the name of the source; past: size and CRC-32 of what was read under this path before.
"""


@dataclass(frozen=True)
class FollowOptions:
    """Which files are read, and how they form runs. The command line describes each option."""

    paths: tuple[str, ...]
    chunk_bytes: int
    linger_seconds: float
    path_pattern: PathPattern
    headers: dict[str, str] = field(default_factory=dict)
    run_id: str | None = None
    run_by: str = "file"
    once: bool = False
    idle_end_seconds: float | None = None
    # How long a renamed or deleted file must not have grown to be complete: its writer may still have it open.
    rotate_wait_seconds: float = 3.0


class Source:
    """A file as a source of its run.

    Attributes:
        log: The file.
        origin: The part of its position that names the run: base, key, source, token, turn.
        sent: What is in chunks. `log.seen` is ahead of it by what the cutter holds.
        began: Whether something of it was sent in this run.
        rank: Position among the generations of its path.
    """

    def __init__(self, log: LogFile, origin: dict[str, Any], headers: dict[str, str], chunk_bytes: int) -> None:
        self.log, self.origin, self.headers = log, origin, headers
        self.cutter = Cutter(chunk_bytes)
        self.sent = log.seen.copy()
        self.began = log.seen.size > 0
        self.rank = (0, 0)

    @property
    def is_own_run(self) -> bool:
        """Whether the file is a run of its own. Then generations of its path need not wait for each other."""
        return "token" in self.origin

    @property
    def key(self) -> str:
        """The run id."""
        if self.is_own_run:
            return f"{self.origin['key']}#{self.origin['token']}"
        turn = self.origin["turn"]
        return str(self.origin["key"]) if turn == 1 else f"{self.origin['key']}~{turn}"


class Runs:
    """Decides to which run a file belongs.

    Once the end of a run was sent, the worker rejects lines for it. What comes later is another run: with another token, if
    the file is a run of its own, else with the next turn of the key.
    """

    def __init__(self, options: FollowOptions) -> None:
        self._options = options
        self._ended: dict[str, int] = {}  # how many runs of each key have ended

    def note_end(self, origin: dict[str, Any]) -> None:
        """Notes that the end of a run was sent."""
        if "token" not in origin:
            self._ended[origin["key"]] = max(self._ended.get(origin["key"], 0), origin.get("turn", 1))

    def source(self, log: LogFile, position: Position | None) -> Source:
        """Makes a source of a file, which goes on with the run of its position, if it has one that was not ended."""
        ended = position is not None and position["done"]
        names = ("base", "key", "source", "token", "turn")
        origin = self._origin(log.base) if position is None else {name: position[name] for name in names if name in position}
        if "token" in origin:
            origin["token"] = secrets.token_hex(4) if ended or not origin["token"] else origin["token"]
        else:
            turns = self._ended.get(origin["key"], 0)
            late = turns >= origin.get("turn", 1) and log.unread()
            origin["turn"] = turns + 1 if position is None or ended or late else origin.get("turn", 1)
        source = Source(log, origin, self._headers(Path(origin["base"])), self._options.chunk_bytes)
        source.began = source.began and not ended
        return source

    def is_named_by_folder(self, base: Path) -> bool:
        """Whether the run of a file has the name of its folder. If the next test uses that folder, it is another run."""
        named = self._options.run_id is not None or "run" in self._options.path_pattern.match(base)
        return self._options.run_by == "folder" and not named

    def _origin(self, base: Path) -> dict[str, Any]:
        """The run of a file that is read for the first time."""
        groups = self._options.path_pattern.match(base)
        origin: dict[str, Any] = {"base": str(base)}
        if self._options.run_id is not None:
            key, source = self._options.run_id, base.name
        elif "run" in groups:
            key, source = groups["run"], base.name
        elif self._options.run_by == "folder":
            # With the identity of the folder: one that is deleted and created again is another run.
            folder = base.parent.stat()
            digest = hashlib.sha256(f"{folder.st_dev}:{folder.st_ino}".encode()).hexdigest()[:8]
            key, source = f"{hostname()}:{base.parent}#{digest}", base.name
        else:
            key, source = f"{hostname()}:{base}", base.name
            origin["token"] = ""
        return {**origin, "key": key, "source": groups.get("source", source)}

    def _headers(self, base: Path) -> dict[str, str]:
        groups = self._options.path_pattern.match(base)
        names = {HEADER_OF_GROUP.get(name, name): value for name, value in groups.items() if name not in ("run", "source")}
        return {**self._options.headers, **names}
