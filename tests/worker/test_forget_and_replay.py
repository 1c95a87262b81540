"""Whenever runs are forgotten and dead letters sent again, wherever workers die: no run comes back, no line comes twice."""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest

from stream_triage.records import ORIGIN_HEADER, REPLAYED_HEADER, DeadLetter, ForgottenRun, Record
from stream_triage.worker.early_budget import EarlyBudget
from stream_triage.worker.runs import PartitionRuns, RunRules
from tests.worker.test_runs_read_again import Died, Farm, Silence, made


class BusyFarm(Farm):
    """People run `forget` and `replay-dead` between any two steps of a worker, and settings change when it starts again."""

    def __init__(
        self, chance: random.Random, events: Iterable[Record | Silence], rules: RunRules, *, forgets: float, replays: float
    ) -> None:
        super().__init__(events, rules)
        self._chance = chance
        self._forgets, self._replays = forgets, replays
        self._removals: list[tuple[int, str]] = []
        self._rejects_b = chance.random() < 0.5
        self.calm = False

    def open_runs(self, early: EarlyBudget | None = None) -> PartitionRuns:
        """A new worker, maybe with settings by which all messages of a key can be used that could not before."""
        self._rejects_b &= not self.calm and self._chance.random() < 0.7
        rejects = "the key is b" if self._rejects_b else None
        self._rules = replace(self._rules, reject_key=lambda key: rejects if key == "b" else None)
        return super().open_runs(early)

    def happens(self) -> None:
        if self.calm:
            return
        if self._chance.random() < self._forgets:
            self._forget()
        if self._removals and self._chance.random() < 0.5:
            self._remove()
        if self.letters and self._chance.random() < self._replays:
            self._replay()

    def _forget(self) -> None:
        """Marks a run that has begun, and removes it from one sink after the other, later."""
        keys = {(record.key or b"").decode() for record in self._records}
        run_id = self._chance.choice(sorted({*self._log, *self.sinks[0], *keys}) or ["none"])
        self.marks.append(ForgottenRun(run_id, len(self._records)))
        self._removals += enumerate([run_id] * len(self.sinks))

    def _remove(self) -> None:
        number, run_id = self._removals.pop(0)
        self.sinks[number].pop(run_id, None)

    def _replay(self) -> None:
        """Any of the letters, in their order; maybe twice, as by two people, or not to the end, by one who is killed.

        Of copies the last one, as `replay-dead` does.
        """
        last = {letter.name: letter for letter in self.letters}
        letters = [letter for letter in last.values() if self._chance.random() < 0.8]
        letters.sort(key=lambda letter: int(letter.origin.rpartition("/")[2]))
        calls = [[sent_again(letter) for letter in letters] for _ in range(self._chance.choice([1, 1, 2]))]
        self._coming[:0] = [message for call in calls for message in call[: self._chance.randint(0, len(call))]]

    def finish(self) -> None:
        """The last worker lives, and nobody disturbs it."""
        self.calm = True
        while self._removals:
            self._remove()
        self.work(self._chance)

    def resurrected(self) -> list[str]:
        """Forgotten runs that a sink has. One with the same id that began later is another run."""
        return [
            run_id
            for run_id, before in self.marks
            for sink in self.sinks
            if run_id in sink and self._log[run_id].first < before
        ]


def sent_again(letter: DeadLetter) -> Record:
    added = ((ORIGIN_HEADER, letter.origin.encode()), (REPLAYED_HEADER, b"%d" % (letter.replays + 1)))
    return Record("logs", 0, 0, 0, letter.key, letter.value, (*letter.headers, *added))


def check(seed: int, *, forgets: float = 0.0, replays: float = 0.0) -> BusyFarm:
    chance = random.Random(seed)
    events, rules = made(chance, silences=seed % 2 == 1)
    sent = Counter(line for event in events if isinstance(event, Record) for line in (event.value or b"").split())
    farm = BusyFarm(chance, events, rules, forgets=forgets, replays=replays)
    for _ in range(chance.randint(0, 4)):
        try:
            farm.work(chance, steps=chance.randint(1, 120))
        except Died:
            continue
    farm.finish()
    first, second = farm.sinks
    assert first == second
    assert all(len(contents) == 1 for contents in first.values()), "one run, two contents"
    taken = Counter(line for run in first.values() for content in run for _, text in content.texts for line in text.split())
    assert not [line for line, times in taken.items() if times > sent[line]], "lines taken twice"
    if not forgets:
        assert set(sent) == set(taken) | farm.rejected_lines, "lines lost"
    assert farm.resurrected() == []
    return farm


# A few in every run of the tests, thousands among the slow ones.
SEEDS = [
    range(150),
    *(pytest.param(range(start, start + 1000), marks=pytest.mark.slow) for start in range(1000, 8000, 1000)),
]


@pytest.mark.parametrize("seeds", SEEDS)
def test_forgotten_runs_stay_forgotten(seeds: range) -> None:
    """A mark before the removal is enough, whether the run is open, being written, or read again."""
    marks = sum(len(check(seed, forgets=0.05).marks) for seed in seeds)
    assert marks > len(seeds)


@pytest.mark.parametrize("seeds", SEEDS)
def test_replayed_lines_come_once(seeds: range) -> None:
    """However often they are sent, and also if the worker could use the message itself when it read it again."""
    letters = sum(len(check(seed, replays=0.03).letters) for seed in seeds)
    assert letters > len(seeds)


@pytest.mark.parametrize("seeds", SEEDS)
def test_both_at_once(seeds: range) -> None:
    """Each goes on holding."""
    for seed in seeds:
        check(seed, forgets=0.03, replays=0.03)
