"""The redacted text of finished runs goes in; one compressed file for each run is kept, up to limits of age and size."""

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

__all__ = ["TextArchive"]

_DAY_SECONDS = 86_400.0


class TextArchive:
    """A folder of run files. Their names are the SHA-256 of the run ids, because ids contain slashes.

    `write` stores the text of a final verdict at once and leaves the text open; the caller may close it right after.
    The modification time of a file is the time at which it was stored, by the given clock.
    """

    def __init__(self, settings: ArchiveSettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._closed = False

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        """Stores the text. Raises `StoreError` if that fails, and leaves no part of the text in the folder."""
        self._check_open()
        if text is None or not verdict.final:
            return
        target = self._path(verdict.run_id)
        if (known := _version(target)) is not None and known >= verdict.version:
            return
        with self._as_store_error():
            _make_private(target.parent, above=self._settings.folder)
            seal(text, verdict.run_id, target, version=verdict.version)
            os.utime(target, (self._clock.now().timestamp(),) * 2)

    def flush(self) -> None:
        """Does nothing: every text was durable when `write` returned."""
        self._check_open()

    def close(self) -> None:
        """Ends writing. Texts can still be opened, forgotten and pruned."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def has(self, run_id: str) -> bool:
        """Whether there is a text of the run."""
        return self._path(run_id).is_file()

    def open(self, run_id: str) -> RunFile:
        """The text of a run by its full id. Raises `RunNotFound`, or `StoreError` if the file is damaged."""
        path = self._path(run_id)
        if not path.is_file():
            raise RunNotFound(f"no text of run {run_id!r} in {self._settings.folder}; it was pruned or never archived")
        return RunFile(path)

    def forget(self, run_id: str) -> bool:
        """Removes the text of a run; returns False if there was none."""
        with self._as_store_error():
            try:
                self._path(run_id).unlink()
            except FileNotFoundError:
                return False
        return True

    def prune(self) -> list[str]:
        """Removes texts above the limits: those that are too old, then the oldest until the size fits.

        Returns:
            The ids of the removed runs, or the path of a file that was too damaged to contain one.
        """
        now = self._clock.now().timestamp()
        with self._as_store_error():
            self._remove_leftovers(now)
            files = self._files()
            return [_remove(file) for file in self._surplus(files, now)]

    def _surplus(self, files: list["_File"], now: float) -> Iterator["_File"]:
        """The files to remove; `files` must be sorted, oldest first."""
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
        files = map(_stat, self._settings.folder.glob("??/*.zst"))
        return sorted(file for file in files if file is not None)

    def _remove_leftovers(self, now: float) -> None:
        """Removes partial files of killed processes. One younger than a day may still be growing."""
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
    def _as_store_error(self) -> Iterator[None]:
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
    """Version of the stored file; None if it is missing or damaged, so that it is written again."""
    try:
        with RunFile(path) as file:
            return file.version
    except StoreError:
        return None


def _stat(path: Path) -> _File | None:
    """None if another process has just removed the file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return _File(status.st_mtime, path, status.st_size)


def _remove(file: _File) -> str:
    """Returns the run's id, or the path if the file is too damaged to contain one."""
    try:
        with RunFile(file.path) as run:
            name = run.run_id
    except StoreError:
        name = str(file.path)
    file.path.unlink(missing_ok=True)
    return name


def _make_private(folder: Path, above: Path) -> None:
    """Creates folders that only their owner can read, because logs are confidential."""
    above.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
