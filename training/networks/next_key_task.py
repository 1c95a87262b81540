"""Template keys of runs in, numbered sequences, windows and batches of them out: what the next-key network is trained on."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_triage.stages.detect import BLANK
from stream_triage.stages.next_key import END, FIRST_KEY, START, UNK
from stream_triage.stages.template import Templates
from training.data import CorpusError
from training.fit.detector import KeyedRuns
from training.networks.loggpt import LogGPT, LogGPTConfig
from training.networks.loop import device

__all__ = ["LogGPTSettings", "NextKeyTask", "Numbers", "Vocabulary", "Windows", "cut_windows", "stacked"]

# A key that fewer groups of near copies show is `<unk>`: of one group it cannot be told whether another would have it.
MIN_GROUPS = 2

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class LogGPTSettings:
    """Sizes of the network and how it is trained; `max_keys` bounds what the output layer costs per key."""

    layers: int = 2
    width: int = 64
    heads: int = 2
    stride: int = 128
    max_keys: int = 1000
    dropout: float = 0.1
    unknown_share: float = 0.02
    """Of keys that are hidden in training, so that the network has seen `<unk>`."""
    batch: int = 8
    epochs: int = 40
    learning_rate: float = 3e-3
    patience: int = 8
    weight_decay: float = 0.01
    folds: int = 3


class Vocabulary:
    """Template keys as numbers from FIRST_KEY; all others are UNK."""

    def __init__(
        self, keyed: KeyedRuns, templates: Templates, runs: Sequence[int], groups: Sequence[str], most: int
    ) -> None:
        """Keys of MIN_GROUPS groups, of more than `most` those that most groups show. Raises `CorpusError` for none."""
        shown: dict[int, set[str]] = defaultdict(set)
        for run, group in zip(runs, groups, strict=True):
            for keys, _ in keyed.run(run).values():
                for index in set(keys):
                    shown[index].add(group)
        common = [index for index, names in shown.items() if index >= 0 and len(names) >= MIN_GROUPS]
        common.sort(key=lambda index: (-len(shown[index]), templates.keys[index]))
        if not common:
            raise CorpusError("no two passing runs share a line, so their order cannot be learned; add passing runs")
        self.keys = tuple(sorted(templates.keys[index] for index in common[:most]))
        number_of_key = {key: number for number, key in enumerate(self.keys, FIRST_KEY)}
        # The last place is that of NEW, -1.
        self._numbers = np.array([*(number_of_key.get(key, UNK) for key in templates.keys), UNK], dtype=np.int64)

    def __len__(self) -> int:
        return FIRST_KEY + len(self.keys)

    def sequences(self, keyed: KeyedRuns, runs: Sequence[int]) -> list[Numbers]:
        """START, keys and END of each source of these runs; equal ones once, in the order in which they came."""
        found: dict[bytes, Numbers] = {}
        for run in runs:
            for keys, _ in keyed.run(run).values():
                events = self._numbers[[index for index in keys if index != BLANK]]
                sequence = np.concatenate([[START], events, [END]])
                found.setdefault(sequence.tobytes(), sequence)
        return list(found.values())


class Windows(NamedTuple):
    """Keys and what came after each, (N, T), padded with START; a target START is not scored."""

    keys: Tensor
    targets: Tensor


class NextKeyTask:
    """Trains on windows that begin anywhere, and looks at others as serving cuts them."""

    def __init__(
        self,
        training: Sequence[Numbers],
        validation: Sequence[Numbers],
        vocabulary: int,
        settings: LogGPTSettings,
        seed: int,
    ) -> None:
        torch.manual_seed(seed)
        sizes = LogGPTConfig(vocabulary, settings.stride, settings.layers, settings.width, settings.heads, settings.dropout)
        self.network = LogGPT(sizes).to(device())
        self._settings, self._training = settings, list(training)
        self._validation = stacked(
            [w for s in validation for w in cut_windows(s, settings.stride, settings.stride)], settings.stride
        )

    def steps(self) -> int:
        windows = sum(1 for sequence in self._training for _ in self._cut(sequence, 0))
        return -(-windows // self._settings.batch)

    def batches(self, rng: np.random.Generator) -> Iterator[Windows]:
        """Windows at other places each epoch, so that no place becomes a habit; of more than usual some are left out."""
        settings = self._settings
        cut = [w for sequence in self._training for w in self._cut(sequence, int(rng.integers(settings.stride)))]
        order = rng.permutation(len(cut))
        for step in range(self.steps()):
            some = order[step * settings.batch : (step + 1) * settings.batch]
            keys, targets = stacked([cut[i] for i in some.tolist()], settings.stride)
            hidden = torch.tensor(rng.random(keys.shape) < settings.unknown_share) & (keys >= FIRST_KEY)
            yield Windows(keys.masked_fill(hidden, UNK), targets)

    def _cut(self, sequence: Numbers, shift: int) -> Iterator[tuple[Numbers, Numbers]]:
        return cut_windows(sequence, self._settings.stride, 2 * self._settings.stride, shift)

    def loss(self, batch: Windows) -> Tensor:
        return self.network.loss(batch.keys.to(device()), batch.targets.to(device()))

    def validate(self) -> dict[str, float]:
        """`loss` in nats a key, `surprisal` in bits, and the share of keys that were the likeliest."""
        bits, hits, count = 0.0, 0, 0
        for first in range(0, len(self._validation.keys), 64):
            keys = self._validation.keys[first : first + 64].to(device())
            targets = self._validation.targets[first : first + 64].to(device())
            surprisal, rank, _ = self.network(keys, targets)
            scored = (targets != START) & (targets != UNK)
            bits += float(surprisal[scored].double().sum())
            hits += int((rank[scored] == 0).sum())
            count += int(scored.sum())
        mean = bits / max(count, 1)
        return {"loss": mean * float(np.log(2)), "surprisal": mean, "top_1": hits / max(count, 1)}


def cut_windows(sequence: Numbers, stride: int, first: int, shift: int = 0) -> Iterator[tuple[Numbers, Numbers]]:
    """Keys and targets: a first window that scores `first` keys, then windows whose second half goes on from there.

    With a `shift` they begin so many keys earlier. Targets in the first half of a later window are START: not scored.
    """
    keys, targets = sequence[:-1], sequence[1:]
    yield keys[:first], targets[:first]
    for scored in range(first - shift, len(keys), stride):
        begin = scored - stride
        after = targets[begin : scored + stride].copy()
        after[:stride] = START
        yield keys[begin : scored + stride], after


def stacked(cut: Sequence[tuple[Numbers, Numbers]], stride: int) -> Windows:
    """Windows of two strides, padded."""
    keys = torch.full((len(cut), 2 * stride), START)
    targets = torch.full((len(cut), 2 * stride), START)
    for row, (some, after) in enumerate(cut):
        keys[row, : len(some)] = torch.from_numpy(some)
        targets[row, : len(after)] = torch.from_numpy(after)
    return Windows(keys, targets)
