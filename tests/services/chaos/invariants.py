"""A ledger and an outcome go in; every promise that was broken comes out. One function for each promise."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from stream_triage.cli.exits import EXIT_AGAIN
from tests.services.chaos.ledger import Fate, Ledger, Sent, marked
from tests.services.chaos.outcome import Letter, Outcome
from tests.services.chaos.report import Broken
from tests.services.chaos.supervisor import Exit
from tests.services.farm import difference, expected

__all__ = ["check"]

# Within this time a worker that is judging a run notices that it was forgotten.
NOTICE_SECONDS = 15.0


def check(ledger: Ledger, outcome: Outcome, ended: list[Exit], copies: int) -> list[Broken]:
    """All promises. `copies` is how often a dead letter may have been written once more, see `dead_letters`."""
    return [
        *verdicts(ledger, outcome),
        *unknown_runs(ledger, outcome),
        *lines(ledger, outcome),
        *floods(ledger, outcome),
        *dead_letters(ledger, outcome, copies),
        *forgotten(ledger, outcome),
        *secrets(ledger, outcome),
        *statuses(ended),
    ]


def verdicts(ledger: Ledger, outcome: Outcome) -> Iterator[Broken]:
    """Each run has one final verdict in every sink. Topics and JSON lines may repeat it; a later one must be the same."""
    same = [sent.run for sent in ledger.with_fate(Fate.SAME)]
    wanted = expected(same)
    for sink, by_run in outcome.verdicts.items():
        for sent in ledger.with_fate(Fate.SAME, Fate.LINES):
            run_id = sent.run.run_id
            given = [verdict for verdict in by_run.get(run_id, []) if verdict.final]
            if not given:
                yield Broken("lost", sent.kind, f"{sink}: {run_id}")
            if sink == "opensearch" and len(given) > 1:
                yield Broken("doubled", sent.kind, f"{sink}: {run_id}")
            for verdict in given:
                if change := difference(verdict, wanted.get(run_id, given[-1])):
                    yield Broken("different", sent.kind, f"{sink}: {run_id}: {' '.join(change.split())[:300]}")


def unknown_runs(ledger: Ledger, outcome: Outcome) -> Iterator[Broken]:
    """No sink has a run that nobody sent. `key@offset` is allowed where lines could be cut off from their run."""
    keys = {sent.run.run_id for sent in ledger.with_fate(Fate.LINES)}
    known = {*ledger.runs, *keys}
    for sink, by_run in outcome.verdicts.items():
        for run_id in by_run:
            if run_id not in known and run_id.rpartition("@")[0] not in keys:
                yield Broken("doubled", ledger.kind_of(run_id), f"{sink}: {run_id}, which nobody sent")


def lines(ledger: Ledger, outcome: Outcome) -> Iterator[Broken]:
    """Each marked line is once in a run, or else in one dead letter. Copies of a letter count once."""
    in_runs = Counter(number for text in outcome.texts.values() for number in marked(text))
    in_letters = {number for letter in outcome.letters for number in marked(letter.text)}
    forgotten = {number for sent in ledger.with_fate(Fate.FORGOTTEN) for text in sent.run.sources.values()
                 for number in marked(text.decode(errors="replace"))}  # fmt: skip
    flooding = {number for marks in ledger.floods.values() for number in marks}
    for number, kind in ledger.marks.items():
        if number in flooding and not in_runs[number]:
            continue
        times = in_runs[number] + (number in in_letters)
        if number in ledger.of_forgotten or number in forgotten:
            if in_runs[number]:
                yield Broken("resurrected", kind, f"line {number} of a forgotten run is in a run")
        elif not times:
            yield Broken("lost", kind, f"line {number} is in no run and in no dead letter")
        elif times > 1:
            where = " and in a dead letter" if number in in_letters else ""
            yield Broken("doubled", kind, f"line {number} is {in_runs[number]} times in runs{where}")


def floods(ledger: Ledger, outcome: Outcome) -> Iterator[Broken]:
    """Of a sender with very many rejected messages, each is in a dead letter or counted in one that sums them up."""
    for key, marks in ledger.floods.items():
        letters = {number for letter in outcome.letters for number in marked(letter.text)} & marks
        summed_up = sum(letter.summed_up for letter in outcome.letters if letter.key == key)
        if (missing := len(marks) - len(letters) - summed_up) > 0:
            yield Broken("lost", "flood", f"{missing} of {len(marks)} rejected messages of {key} are in no dead letter")


def dead_letters(ledger: Ledger, outcome: Outcome, copies: int) -> Iterator[Broken]:
    """A message is dead-lettered once, however often it is read.

    `copies` are allowed: a worker that dies after it has written a letter, and before it has noted that in the run log,
    writes it again; and so does one whose broker died before it had confirmed the letter.
    """
    by_name: dict[str, list[Letter]] = {}
    for letter in outcome.letters:
        if not letter.summed_up:
            by_name.setdefault(letter.name, []).append(letter)
    for name, letters in by_name.items():
        if len(letters) > 1 + copies:
            yield Broken(
                "doubled", ledger.kind_of(letters[0].key), f"{len(letters)} dead letters of {name}: {letters[0].reason}"
            )


def forgotten(ledger: Ledger, outcome: Outcome) -> Iterator[Broken]:
    """A forgotten run is in no sink, topic or index, and nothing of its key has come after it."""
    for sent in ledger.with_fate(Fate.FORGOTTEN):
        for place in _places_of(sent, outcome):
            yield Broken("resurrected", sent.kind, f"{sent.run.run_id} is in the {place}")


def _places_of(sent: Sent, outcome: Outcome) -> Iterator[str]:
    """Where a run is still.

    `forget` does not change JSON lines, and leaves provisional verdicts to the retention of their topic; no new ones may be
    written to either, though.
    """
    key, too_late = sent.run.run_id, sent.forgotten_at + NOTICE_SECONDS

    def is_of_key(run_id: object) -> bool:
        return isinstance(run_id, str) and (run_id == key or run_id.rpartition("@")[0] == key)

    for sink in ("store", "opensearch", "topic of verdicts"):
        if any(is_of_key(run_id) for run_id in outcome.verdicts[sink]):
            yield sink
    if any(is_of_key(run_id) for run_id in outcome.texts):
        yield "archive"
    if any(is_of_key(value) for document in outcome.documents for value in _values(document["_source"])):
        yield "indices"
    written = [verdict for run_id, by_run in outcome.verdicts["jsonl"].items() if is_of_key(run_id) for verdict in by_run]
    if any(verdict.time and verdict.time.timestamp() > too_late for verdict in written):
        yield "JSON lines, again"
    for record in outcome.topics["topic of provisional verdicts"]:
        if is_of_key((record.key or b"").decode(errors="replace")) and record.timestamp_ms / 1000 > too_late:
            yield "topic of provisional verdicts, again"
            break


def _values(document: Any) -> Iterator[object]:
    if isinstance(document, dict):
        for value in document.values():
            yield from _values(value)
    elif isinstance(document, list):
        for value in document:
            yield from _values(value)
    else:
        yield document


def secrets(ledger: Ledger, outcome: Outcome) -> Iterator[Broken]:
    """No secret is anywhere but in the topic of dead letters."""
    escaped = {json.dumps(secret)[1:-1]: form for secret, form in ledger.secrets.items()}
    for place, text in outcome.everything_visible() if escaped else ():
        for secret, form in escaped.items():
            if secret in text:
                yield Broken("leaked", "secrets", f"{form} is in: {place}")


def statuses(ended: list[Exit]) -> Iterator[Broken]:
    """A worker ends by itself only with the status that asks for another start."""
    for exit_ in ended:
        if exit_.status != EXIT_AGAIN:
            yield Broken("exits", exit_.kind, f"status {exit_.status}: {exit_.output[-300:]}")
