"""Verdicts go in and stay in memory, in order and by run: a store for tests and notebooks."""

import re
from datetime import UTC, datetime
from typing import Self

from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import RunNotFound, StoreError
from stream_triage.ports import RunText, StoredRun
from stream_triage.records import Verdict, split_file_id

__all__ = ["MemorySink"]


class MemorySink:
    """A store without a disk. As in the other stores, a verdict is visible after `flush`.

    Attributes:
        written: Every verdict in the order of writing, including those that were replaced later.
        verdicts: By run id, the verdict with the highest version.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.written: list[Verdict] = []
        self.verdicts: dict[str, Verdict] = {}
        self._clock = clock or SystemClock()
        self._times: dict[str, datetime] = {}
        self._waiting: list[Verdict] = []
        self._closed = False

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        """Buffers the verdict until `flush`."""
        self._check_open()
        self._waiting.append(verdict)

    def flush(self) -> None:
        """Makes what is buffered visible."""
        self._check_open()
        for verdict in self._waiting:
            self.written.append(verdict)
            known = self.verdicts.get(verdict.run_id)
            if known is None or verdict.version > known.version:
                self.verdicts[verdict.run_id] = verdict
                self._times[verdict.run_id] = (verdict.time or self._clock.now()).astimezone(UTC)
            elif verdict.version == known.version and not known.content:
                self.verdicts[verdict.run_id] = known.model_copy(update={"content": verdict.content})
        self._waiting.clear()

    def close(self) -> None:
        """Flushes. `written` and `verdicts` can still be read."""
        if not self._closed:
            self.flush()
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def runs(
        self, *, label: str | None = None, search: str | None = None, unclean: bool = False, limit: int = 100
    ) -> list[StoredRun]:
        """Newest first. `search` finds runs with one kept line that contains all its words, or words that begin so."""
        self._check_open()
        words = _words(search or "")
        rows = [
            _row(verdict, self._times[verdict.run_id])
            for verdict in map(self.verdicts.__getitem__, self._newest_first())
            if (label is None or verdict.label == label)
            and not (unclean and verdict.clean)
            and (not (search or "").strip() or any(_holds(line.text, words) for line in verdict.reduction))
        ]
        return rows[:limit]

    def get(self, run_id: str) -> Verdict:
        """The verdict of `full_id(run_id)`."""
        return self.verdicts[self.full_id(run_id)]

    def full_id(self, run_id: str) -> str:
        """The id that equals `run_id`, else the only one that begins with it, else the only one that contains it.

        Raises:
            RunNotFound: No id, or several; the message names up to five.
        """
        self._check_open()
        if run_id in self.verdicts:
            return run_id
        beginning = [known for known in self.verdicts if known.startswith(run_id)]
        candidates = beginning or [known for known in self.verdicts if run_id in known]
        if len(candidates) != 1:
            names = ", ".join(sorted(candidates)[:5]) or "see runs()"
            raise RunNotFound(f"{len(candidates)} runs match {run_id!r}: {names}")
        return candidates[0]

    def find(self, run_id: str) -> StoredRun | None:
        """The stored run with exactly this id, None if there is none."""
        self._check_open()
        verdict = self.verdicts.get(run_id)
        return _row(verdict, self._times[run_id]) if verdict else None

    def find_content(self, path: str, content: str) -> StoredRun | None:
        """The newest run that was read from this path and has this content; None if there is none."""
        self._check_open()
        for run_id in self._newest_first() if content else ():
            if self.verdicts[run_id].content == content and split_file_id(run_id)[0] == path:
                return _row(self.verdicts[run_id], self._times[run_id])
        return None

    def forget(self, run_id: str) -> bool:
        """Removes every verdict of the run; returns False if there was none."""
        self._check_open()
        traces = len(self.written) + len(self._waiting)
        self.written = [verdict for verdict in self.written if verdict.run_id != run_id]
        self._waiting = [verdict for verdict in self._waiting if verdict.run_id != run_id]
        self._times.pop(run_id, None)
        self.verdicts.pop(run_id, None)
        return len(self.written) + len(self._waiting) < traces

    def prune(self, *, before: datetime | None = None, keep: int | None = None) -> list[str]:
        """Removes runs older than `before` and all but the newest `keep`; returns their ids, oldest first."""
        self._check_open()
        newest = self._newest_first()
        spared = set(newest if keep is None else newest[:keep])
        if before is not None:
            spared -= {run_id for run_id in newest if self._times[run_id] < before.astimezone(UTC)}
        removed = [run_id for run_id in reversed(newest) if run_id not in spared]
        for run_id in removed:
            self.forget(run_id)
        return removed

    def _newest_first(self) -> list[str]:
        # Sorting is stable: of two runs with the same time, the one that was written later comes first.
        order = list(reversed(self.verdicts))
        order.sort(key=self._times.__getitem__, reverse=True)
        return order

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("this sink is closed; write before closing it")


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _holds(line: str, words: list[str]) -> bool:
    """Whether there are words, and each of them begins a word of the line."""
    return bool(words) and all(any(known.startswith(word) for known in _words(line)) for word in words)


def _row(verdict: Verdict, time: datetime) -> StoredRun:
    return StoredRun(
        run_id=verdict.run_id,
        time=time,
        label=verdict.label,
        passed=verdict.passed,
        confidence=verdict.confidence,
        needs_review=verdict.needs_review,
        anomalous=verdict.anomalous,
        anomaly_score=verdict.anomaly_score,
        lines=verdict.lines,
        bundle=verdict.bundle,
        version=verdict.version,
        final=verdict.final,
        content=verdict.content,
    )
