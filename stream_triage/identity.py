"""The end of a run that was read from files in; the id under which its verdict is stored out.

The same text read again from the same path is the same run, and keeps its id. Other text is another run, however much of
its beginning is the same. `RunEnd` says what a source sends; docs/lab.md says what users can rely on.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from stream_triage.errors import RunNotFound, StoreError
from stream_triage.files.content import ContentDigest
from stream_triage.files.naming import OpenKey
from stream_triage.ports import Store, StoredRun
from stream_triage.records import Chunk, PartitionRunId, RunEnd, Verdict, text_bytes
from stream_triage.stages.redact import Redactor

__all__ = ["RunIds"]

# Followed runs whose ids are remembered. A run that ended before so many others and goes on then is looked up in the store.
MAX_REMEMBERED: Final = 10_000


class RunIds:
    """Names the runs of one intake.

    Args:
        store: What was stored before; without it, a followed file keeps its first id, and nothing is looked up.
        redactor: Removes identities from paths, as from the ids of verdicts.
        on_store_error: Called when the store cannot be asked; the run gets the id that it would have in an empty store.
    """

    def __init__(self, store: Store | None, redactor: Redactor, on_store_error: Callable[[StoreError], None]) -> None:
        self._store = store
        self._redactor = redactor
        self._on_store_error = on_store_error
        self._stored_parts: dict[str, _StoredPart] = {}
        """By the id of an open run, what is stored under this id from before."""
        self._given: OrderedDict[str, str] = OrderedDict()
        """By the first id of a followed run that has ended, the id of its verdict."""

    def open_name(self, run_id: str) -> str:
        """The name of a run while it is open: its id if that is known, else its path."""
        if isinstance(run_id, OpenKey):
            return run_id.path
        return run_id.run_id if isinstance(run_id, PartitionRunId) else self._given.get(run_id, run_id)

    def begin(self, run_id: str) -> None:
        """Looks up what is stored under the id of a run that was just opened, to compare it with the text to come."""
        if self._store is None or isinstance(run_id, OpenKey):
            return
        try:
            stored = self._store.find(self._redactor.run_id(self.open_name(run_id)))
            if stored and stored.content:
                self._stored_parts[run_id] = _StoredPart(self._store.get(stored.run_id), self._redactor)
        except StoreError as error:
            self._on_store_error(error)
        except RunNotFound:  # another process has just forgotten it
            return

    def take(self, chunk: Chunk) -> None:
        """Compares text with what is stored under the same id."""
        if part := self._stored_parts.get(chunk.run_id):
            part.take(chunk)

    def may_publish(self, run_id: str) -> bool:
        """Whether an open run may have provisional verdicts. Its id must be known, and must not be that of another run."""
        part = self._stored_parts.get(run_id)
        return not isinstance(run_id, OpenKey) and (part is None or part.is_confirmed())

    def over(self, run_id: str) -> None:
        """Forgets what was kept for an open run."""
        self._stored_parts.pop(run_id, None)

    def name(self, end: RunEnd, verdict: Verdict, *, published: bool) -> str:
        """The id of the verdict on a run that has ended, without identities.

        Args:
            end: The end.
            verdict: The verdict, with the name of the open run as id.
            published: Whether provisional verdicts were published, so that the id must stay.
        """
        if not end.path:
            return verdict.run_id
        finished = isinstance(end.run_id, OpenKey)
        first = f"{self._redactor.text(end.path)}#{end.content[:8]}" if finished else verdict.run_id
        if end.run_id in self._given or self._store is None:
            return first
        try:
            if finished:
                return self._same_run(self._store, end, verdict) or self._free(self._store, first, end)
            name = self._name_of_growing(self._store, end, verdict, published)
        except StoreError as error:
            self._on_store_error(error)
            return first
        self._remember(end.run_id, name)
        return name

    def _name_of_growing(self, store: Store, end: RunEnd, verdict: Verdict, published: bool) -> str:
        part = self._stored_parts.get(end.run_id)
        if part and part.is_confirmed():
            return verdict.run_id
        if not published:
            same = self._same_run(store, end, verdict)
            # Another followed run that ended with the same text is another execution, as of a test that prints no times.
            if same and same not in self._given.values():
                return same
        return self._free(store, verdict.run_id, end)

    def _same_run(self, store: Store, end: RunEnd, verdict: Verdict) -> str | None:
        """The id of the stored run that is this one, by content, or as an earlier release named it; None for a new run."""
        path = self._redactor.text(end.path)
        if stored := store.find_content(path, end.content):
            return stored.run_id
        if end.head and (stored := store.find(f"{path}#{end.head}")) and _may_be_earlier_release(stored, verdict):
            return stored.run_id
        return None

    def _free(self, store: Store, first: str, end: RunEnd) -> str:
        """The first of `ID`, `ID~2`, `ID~3` … that no other run has."""
        name, number = first, 1
        while (stored := store.find(name)) and _is_other(stored, end):
            number += 1
            name = f"{first}~{number}"
        return name

    def _remember(self, run_id: str, name: str) -> None:
        self._given[run_id] = name
        if len(self._given) > MAX_REMEMBERED:
            self._given.popitem(last=False)


class _StoredPart:
    """Tells whether the text of an open run begins with the text of a stored one."""

    def __init__(self, verdict: Verdict, redactor: Redactor) -> None:
        self._redactor = redactor
        self._verdict = verdict
        self._left: dict[str, int] = {}
        """Bytes of the stored text that have not come yet, by source."""
        self._digest = ContentDigest()
        self._began = False

    def take(self, chunk: Chunk) -> None:
        """Adds the next text of the open run."""
        source = self._redactor.text(chunk.source)
        if not self._began:
            self._began = True
            # A stage may have made several sources of a text without a name.
            by_source = {summary.source: summary.bytes for summary in self._verdict.sources}
            self._left = by_source if source else {"": text_bytes(self._verdict.version)}
        left = self._left.get(source, 0)
        self._digest.update(chunk.source, chunk.data[:left])
        self._left[source] = max(left - len(chunk.data), 0)

    def is_confirmed(self) -> bool:
        """Whether all of the stored text has come again."""
        return self._digest.hexdigest() == self._verdict.content


def _may_be_earlier_release(stored: StoredRun, verdict: Verdict) -> bool:
    """Whether an earlier release, which knew no content, may have stored this verdict: as many bytes and lines."""
    as_long = text_bytes(stored.version) == text_bytes(verdict.version) and stored.lines == verdict.lines
    return not stored.content and as_long


def _is_other(stored: StoredRun, end: RunEnd) -> bool:
    """Whether a stored run is another one than that which has ended. A verdict that is not final is one of this run."""
    return stored.final and not (end.content and stored.content == end.content)
