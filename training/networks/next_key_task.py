"""The training task of the next-key network: batches of windows in, loss and validation figures out."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stream_triage.stages.next_key import FIRST_KEY, START, UNK
from training.networks.key_windows import KeyNumbers, cut_windows
from training.networks.loggpt import LogGPT, LogGPTConfig
from training.networks.loop import device

__all__ = ["NextKeyTask", "Windows", "stacked"]

# Windows that are validated at once: a bound on memory.
WINDOWS_AT_ONCE = 64


class Windows(NamedTuple):
    """Keys and the key that follows each, both (N, T) and padded with START; a target START is not scored."""

    keys: Tensor
    targets: Tensor


class NextKeyTask:
    """A next-key network with the sequences it learns from and is validated on; see `training.networks.loop.Task`.

    It learns from windows that begin anywhere, and is validated on windows as serving cuts them.
    """

    def __init__(
        self,
        training: Sequence[KeyNumbers],
        validation: Sequence[KeyNumbers],
        config: LogGPTConfig,
        *,
        batch: int,
        unknown_share: float,
        seed: int,
    ) -> None:
        """Creates an untrained network of these sizes; `unknown_share` of the keys it reads in training are hidden."""
        torch.manual_seed(seed)
        self.network = LogGPT(config).to(device())
        self._stride, self._batch, self._unknown_share = config.stride, batch, unknown_share
        self._training = list(training)
        # Cut once: the same windows after each epoch, so that losses are comparable.
        self._validation = stacked(
            [w for s in validation for w in cut_windows(s, config.stride, config.stride)], config.stride
        )

    def steps(self) -> int:
        """Batches in an epoch: of windows without a shift."""
        windows = sum(1 for sequence in self._training for _ in self._cut(sequence, 0))
        return -(-windows // self._batch)

    def batches(self, rng: np.random.Generator) -> Iterator[Windows]:
        """Windows at other positions in each epoch, so that the network does not learn where a window begins.

        A shift can add a window to a sequence. The schedule of the learning rate needs a fixed number of steps, so of more
        windows than usual some are left out of the epoch.
        """
        cut = [w for sequence in self._training for w in self._cut(sequence, int(rng.integers(self._stride)))]
        order = rng.permutation(len(cut))
        for step in range(self.steps()):
            some = order[step * self._batch : (step + 1) * self._batch]
            keys, targets = stacked([cut[i] for i in some.tolist()], self._stride)
            # Keys are hidden from the input alone: the network must never learn to predict the unknown key.
            hidden = torch.tensor(rng.random(keys.shape) < self._unknown_share) & (keys >= FIRST_KEY)
            yield Windows(keys.masked_fill(hidden, UNK), targets)

    def _cut(self, sequence: KeyNumbers, shift: int) -> Iterator[tuple[KeyNumbers, KeyNumbers]]:
        # Training reads the first two strides as one window: the keys at the start of a sequence have little context in any
        # case.
        return cut_windows(sequence, self._stride, 2 * self._stride, shift)

    def loss(self, batch: Windows) -> Tensor:
        """Mean negative log-likelihood of the scored keys of a batch, in nats."""
        return self.network.loss(batch.keys.to(device()), batch.targets.to(device()))

    def validate(self) -> dict[str, float]:
        """`loss` in nats a key, `surprisal` in bits a key, and as `top_1` the share of keys that were the likeliest."""
        bits, hits, count = 0.0, 0, 0
        for first in range(0, len(self._validation.keys), WINDOWS_AT_ONCE):
            keys = self._validation.keys[first : first + WINDOWS_AT_ONCE].to(device())
            targets = self._validation.targets[first : first + WINDOWS_AT_ONCE].to(device())
            # The figures of serving, not the training loss: what is compared between epochs is what decides later.
            surprisal, rank, _ = self.network(keys, targets)
            scored = (targets != START) & (targets != UNK)
            bits += float(surprisal[scored].double().sum())
            hits += int((rank[scored] == 0).sum())
            count += int(scored.sum())
        mean = bits / max(count, 1)
        return {"loss": mean * float(np.log(2)), "surprisal": mean, "top_1": hits / max(count, 1)}


def stacked(cut: Sequence[tuple[KeyNumbers, KeyNumbers]], stride: int) -> Windows:
    """Windows as two tensors of two strides width, padded with START."""
    keys = torch.full((len(cut), 2 * stride), START)
    targets = torch.full((len(cut), 2 * stride), START)
    for row, (some, following) in enumerate(cut):
        keys[row, : len(some)] = torch.from_numpy(some)
        targets[row, : len(following)] = torch.from_numpy(following)
    return Windows(keys, targets)
