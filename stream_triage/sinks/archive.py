"""The redacted text of each finished run goes in; one compressed run file each stays, until its age or size limit."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import RunNotFound, StoreError
from stream_triage.ports import RunText
from stream_triage.records import Verdict
from stream_triage.settings import ArchiveSettings
from stream_triage.spool import RunFile, seal

__all__ = ["Archive"]

_DAY_SECONDS = 86_400.0


class Archive:
    """A folder of run files named by the SHA-256 of the run id, since ids hold slashes.

    `write` seals the text of a final verdict at once, so the text may be closed right after; it is left readable.
    The modification time of a file is the time of sealing, by the given clock.
    """

    def __init__(self, settings: ArchiveSettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._closed = False

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        """Raises `StoreError` when the text cannot be kept; then nothing of it lies in the folder."""
        self._check_open()
        if text is None or not verdict.final:
            return
        target = self._path(verdict.run_id)
        if (known := _version(target)) is not None and known >= verdict.version:
            return
        with self._naming():
            _make_private(target.parent, above=self._settings.folder)
            seal(text, verdict.run_id, target, version=verdict.version)
            os.utime(target, (self._clock.now().timestamp(),) * 2)

    def flush(self) -> None:
        """Every write was durable when it returned."""
        self._check_open()

    def close(self) -> None:
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, run_id: str) -> RunFile:
        """The text of a run by its full id. Raises `RunNotFound`, or `StoreError` when the file is damaged."""
        path = self._path(run_id)
        if not path.is_file():
            raise RunNotFound(f"no text of run {run_id!r} in {self._settings.folder}; it was pruned or never archived")
        return RunFile(path)

    def forget(self, run_id: str) -> bool:
        """Removes the text of a run; false when there was none."""
        with self._naming():
            try:
                self._path(run_id).unlink()
            except FileNotFoundError:
                return False
        return True

    def prune(self) -> list[str]:
        """Applies the limits: what is too old, then the oldest beyond the size. Gives the removed runs' ids."""
        now = self._clock.now().timestamp()
        with self._naming():
            self._remove_leftovers(now)
            files = self._files()
            return [_remove(file) for file in self._surplus(files, now)]

    def _surplus(self, files: list["_File"], now: float) -> Iterator["_File"]:
        """`files` come oldest first."""
        days, limit = self._settings.max_age_days, self._settings.max_bytes
        total = sum(file.size for file in files)
        for file in files:
            too_old = days is not None and file.time < now - days * _DAY_SECONDS
            too_much = limit is not None and total > limit
            if not (too_old or too_much):
                return
            total -= file.size
            yield file

    def _files(self) -> list["_File"]:
        found = map(_stat, self._settings.folder.glob("??/*.zst"))
        return sorted(file for file in found if file is not None)

    def _remove_leftovers(self, now: float) -> None:
        """Half files of a process that was killed; one younger than a day may still be growing."""
        for file in map(_stat, self._settings.folder.glob("??/*.partial")):
            if file is not None and file.time < now - _DAY_SECONDS:
                file.path.unlink(missing_ok=True)

    def _path(self, run_id: str) -> Path:
        name = hashlib.sha256(run_id.encode()).hexdigest()
        return self._settings.folder / name[:2] / f"{name}.zst"

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the archive {self._settings.folder} is closed; write before closing it")

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"archive {self._settings.folder} cannot be changed: {error.strerror}"
            raise StoreError(f"{reason}; free space, check its permissions or set archive.folder") from error


class _File(NamedTuple):
    time: float
    path: Path
    size: int


def _version(path: Path) -> int | None:
    """Version of the sealed file; none when it is absent or damaged, so that it is written anew."""
    try:
        with RunFile(path) as file:
            return file.version
    except StoreError:
        return None


def _stat(path: Path) -> _File | None:
    """None when another process removed the file just now."""
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    return _File(about.st_mtime, path, about.st_size)


def _remove(file: _File) -> str:
    """Gives the run's id, or the path of a file too damaged to tell."""
    try:
        with RunFile(file.path) as run:
            name = run.run_id
    except StoreError:
        name = str(file.path)
    file.path.unlink(missing_ok=True)
    return name


def _make_private(folder: Path, above: Path) -> None:
    """Logs are confidential: the folders this makes are for their owner only."""
    above.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
