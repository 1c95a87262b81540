"""The training task of the published CNN: encoded logs in, batches, losses and label scores out."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from torch import Tensor, nn

from training.networks.loop import class_weights, device
from training.paper.cnn import PaperCNNNet
from training.paper.config import PaperCNNConfig

__all__ = ["PaperCNNTask"]


class PaperCNNTask:
    """The CNN with the logs it learns from and is validated on; see `training.networks.loop.Task`.

    Classes are weighted, since most runs pass (section III-B). Logs are cut to the context when they are read.
    """

    def __init__(
        self,
        logs: Sequence[NDArray[np.uint8]],
        targets: NDArray[np.intp],
        training: Sequence[int],
        validation: Sequence[int],
        config: PaperCNNConfig,
        *,
        context: int = 50_000,
        batch: int = 16,
        budget: int = 400_000,
        seed: int = 0,
        embedding: NDArray[np.float32] | None = None,
    ) -> None:
        """Creates an untrained network.

        Args:
            logs: Encoded logs of all runs.
            targets: Label number of each of them.
            training: Indexes of the logs to learn from.
            validation: Indexes of the logs to validate on.
            config: Sizes.
            context: Characters of a log's end that are read.
            batch: Logs in a batch; the paper uses 16 to 512.
            budget: Characters, padding included, that are read at once.
            seed: Seed of the first weights.
            embedding: First embedding, shape (characters, D); random if None.
        """
        torch.manual_seed(seed)
        self.network = PaperCNNNet(config, embedding).to(device())
        self._logs, self._targets, self._context = logs, targets, context
        self._training, self._validation = list(training), list(validation)
        self._batch, self._budget = batch, budget
        # Inverse to the number of runs, as the paper says without a formula (section III-B).
        self._weights = class_weights(targets[self._training], config.labels).to(device())

    def steps(self) -> int:
        """Batches in an epoch."""
        return len(self._packed(self._training))

    def batches(self, rng: np.random.Generator) -> Iterator[list[int]]:
        """Logs of similar length together, which saves padding; a jitter of the lengths mixes them anew in each epoch."""
        # Sorted exactly, the same logs would be in one batch in every epoch.
        jitter = {i: len(self._logs[i]) * rng.uniform(0.8, 1.25) for i in self._training}
        packed = self._packed(sorted(self._training, key=jitter.__getitem__))
        for index in rng.permutation(len(packed)).tolist():
            yield packed[index]

    def _packed(self, order: Sequence[int]) -> list[list[int]]:
        """Batches in the given order; their number depends on the number of logs alone.

        A batch norm cannot learn from a single log, so one that is left over joins the batch before it.
        """
        packed = [list(order[first : first + self._batch]) for first in range(0, len(order), self._batch)]
        if len(packed) > 1 and len(packed[-1]) == 1:
            packed[-2:] = [packed[-2] + packed[-1]]
        return packed

    def loss(self, batch: list[int]) -> Tensor:
        """Weighted cross-entropy of a batch. Its logs are read in parts that fit the budget, so it may be of any size."""
        targets = torch.tensor(self._targets[batch], device=device())
        scores = self.network.scores(torch.cat([self.network.pooled(part) for part in self._parts(batch)]))
        return nn.functional.cross_entropy(scores, targets, weight=self._weights)

    def _parts(self, batch: Sequence[int]) -> Iterator[Tensor]:
        """The logs of a batch in their order, in padded tensors of at most `budget` characters."""
        part: list[int] = []
        longest = 0
        for i in batch:
            length = min(len(self._logs[i]), self._context)
            # A part costs its longest log times its number of logs, since the others are padded.
            if part and max(longest, length) * (len(part) + 1) > self._budget:
                yield self._tensor(part)
                part, longest = [], 0
            part.append(i)
            longest = max(longest, length)
        yield self._tensor(part)

    def _tensor(self, part: Sequence[int]) -> Tensor:
        """The ends of some logs, padded to the longest of them and to whole windows of the pool."""
        pool = self.network.config.pool
        length = -(-max(1, *(min(len(self._logs[i]), self._context) for i in part)) // pool) * pool
        symbols = np.zeros((len(part), length), dtype=np.int64)
        for row, i in enumerate(part):
            # The end of the log, where failures show.
            end = self._logs[i][-self._context :]
            symbols[row, : len(end)] = end
        return torch.tensor(symbols, device=device())

    def scores(self, runs: Sequence[int]) -> NDArray[np.float64]:
        """Label scores of some logs, shape (runs, labels), in their order."""
        self.network.eval()
        order = sorted(range(len(runs)), key=lambda row: len(self._logs[runs[row]]))
        scores = np.zeros((len(runs), self.network.config.labels))
        with torch.no_grad():
            for first in range(0, len(order), self._batch):
                some = order[first : first + self._batch]
                parts = self._parts([runs[row] for row in some])
                scores[some] = torch.cat([self.network(part) for part in parts]).double().cpu().numpy()
        return scores

    def validate(self) -> Mapping[str, float]:
        """Loss, macro-F1 and accuracy on the validation logs."""
        scores, targets = self.scores(self._validation), self._targets[self._validation]
        loss = nn.functional.cross_entropy(torch.tensor(scores), torch.tensor(targets), weight=self._weights.double().cpu())
        predicted = scores.argmax(axis=1)
        return {
            "loss": float(loss),
            "macro_f1": float(f1_score(targets, predicted, average="macro", zero_division=0)),
            "accuracy": float((predicted == targets).mean()),
        }
