"""Settings in; source, pipeline and sinks out. The one place that knows them all."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TextIO

from stream_triage.bundle import Bundle, find_bundle
from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import RunNotFound
from stream_triage.pipeline import Triage
from stream_triage.ports import Sink
from stream_triage.settings import Settings
from stream_triage.sinks.archive import Archive
from stream_triage.sinks.jsonl import JsonlSink
from stream_triage.sinks.sqlite import SqliteStore
from stream_triage.stages.redact import Redactor
from stream_triage.stages.reduce import MAX_LINES
from stream_triage.stages.rules import Rules

__all__ = [
    "forget",
    "full_id",
    "open_bundle",
    "open_rules",
    "open_sinks",
    "open_store",
    "open_triage",
    "prune",
]


def open_bundle(settings: Settings) -> Bundle:
    return Bundle.open(find_bundle(settings.bundle, settings.bundle_folders))


def open_rules(settings: Settings) -> Rules:
    return Rules.read(settings.rules) if settings.rules else Rules()


def open_triage(settings: Settings, reduction_lines: int = MAX_LINES) -> Triage:
    """Everything that is needed to judge runs. Raises `BundleError` or `SettingsError`."""
    return Triage(
        open_bundle(settings),
        reduction_lines=reduction_lines,
        redactor=Redactor.from_settings(settings.redaction),
        rules=open_rules(settings),
        line_bytes=settings.input.line_bytes,
    )


def open_store(settings: Settings, *, create: bool = False) -> SqliteStore:
    return SqliteStore(settings.store.path, create=create)


@contextmanager
def open_sinks(settings: Settings, store: SqliteStore | None, jsonl: TextIO | None = None) -> Iterator[Sequence[Sink]]:
    """The sinks that `run` writes to, closed afterwards. The archive comes first: a stored run can then be shown whole."""
    with ExitStack() as stack:
        sinks: list[Sink] = []
        if store and settings.archive.enabled:
            sinks.append(stack.enter_context(Archive(settings.archive)))
        if store:
            sinks.append(stack.enter_context(store))
        if jsonl is not None:
            sinks.append(stack.enter_context(JsonlSink(jsonl)))
        yield sinks


def full_id(settings: Settings, store: SqliteStore, asked: str) -> str:
    """The stored id that is meant, by the name of a file with an identity in it too. Raises `RunNotFound`."""
    try:
        return store.full_id(asked)
    except RunNotFound:
        shown = Redactor.from_settings(settings.redaction).text(asked)
        if shown == asked:
            raise
        return store.full_id(shown)


def forget(settings: Settings, store: SqliteStore, asked: str) -> str:
    """Removes a run from the archive and the store, the store last, so that a failure can be repeated; gives its id.

    A text that lies in the archive alone, since the store failed or was moved, is removed by its full id.
    """
    archive = Archive(settings.archive)
    try:
        run_id = full_id(settings, store, asked)
    except RunNotFound:
        if archive.forget(asked):
            return asked
        raise
    archive.forget(run_id)
    store.forget(run_id)
    return run_id


@dataclass(frozen=True)
class Pruned:
    runs: int
    texts: int


def prune(settings: Settings, store: SqliteStore, clock: Clock | None = None) -> Pruned:
    """Applies the limits of age, number and size to store and archive."""
    archive = Archive(settings.archive)
    age = settings.store.max_age_days
    before = (clock or SystemClock()).now() - timedelta(days=age) if age is not None else None
    removed = store.prune(before=before, keep=settings.store.max_runs)
    for run_id in removed:
        archive.forget(run_id)
    return Pruned(len(removed), len(archive.prune()))
