"""The residual CNN on embeddings of a log's windows (section IV-B), and its training task."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.networks.loop import class_weights

__all__ = ["WindowNet", "WindowTask"]

BATCH = 32
# Logs whose scores are computed at once: a bound on memory.
LOGS_AT_ONCE = 64


class WindowNet(nn.Module):
    """The shape of the published CNN, reading windows in their order instead of characters."""

    def __init__(self, inputs: int, labels: int, channels: int = 128) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.first = nn.Conv1d(inputs, channels, 3, padding=1)
        self.second = nn.Conv1d(channels, channels, 3, padding=1)
        self.dense = nn.Sequential(nn.Dropout(0.2), nn.Linear(channels, 64), nn.ReLU(), nn.Linear(64, labels))

    def forward(self, windows: Tensor, present: Tensor) -> Tensor:
        """Windows (N, M, D) and which of them are not padding (N, M) to label scores (N, labels)."""
        mask = present[:, None].to(windows.dtype)
        x = torch.relu(self.first(self.norm(windows).transpose(1, 2) * mask))
        x = x + torch.relu(self.second(x * mask))
        return self.dense(x.masked_fill(~present[:, None], -torch.inf).amax(2))


class WindowTask:
    """`WindowNet` with the logs it learns from and is validated on; see `training.networks.loop.Task`."""

    def __init__(
        self,
        windows: Sequence[NDArray[np.float32]],
        targets: NDArray[np.intp],
        training: Sequence[int],
        validation: Sequence[int],
        *,
        labels: int,
        seed: int = 0,
    ) -> None:
        """Creates an untrained network; `windows` has an array (M, D) for each log, `targets` their label numbers."""
        torch.manual_seed(seed)
        self.network = WindowNet(windows[0].shape[1], labels)
        self._windows, self._targets = windows, targets
        self._training, self._validation = list(training), list(validation)
        self._weights = class_weights(targets[self._training], labels)

    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-len(self._training) // BATCH)

    def batches(self, rng: np.random.Generator) -> Iterator[list[int]]:
        """The training logs in a new order."""
        order = rng.permutation(self._training).tolist()
        for first in range(0, len(order), BATCH):
            yield order[first : first + BATCH]

    def loss(self, batch: list[int]) -> Tensor:
        """Weighted cross-entropy of a batch."""
        return nn.functional.cross_entropy(self._scores(batch), torch.tensor(self._targets[batch]), weight=self._weights)

    def _scores(self, batch: Sequence[int]) -> Tensor:
        longest = max(len(self._windows[i]) for i in batch)
        windows = np.zeros((len(batch), longest, self._windows[0].shape[1]), dtype=np.float32)
        present = np.zeros((len(batch), longest), dtype=bool)
        for row, i in enumerate(batch):
            windows[row, : len(self._windows[i])] = self._windows[i]
            present[row, : len(self._windows[i])] = True
        return self.network(torch.tensor(windows), torch.tensor(present))

    def scores(self, runs: Sequence[int]) -> NDArray[np.float64]:
        """Label scores of some logs, shape (runs, labels), in their order."""
        self.network.eval()
        with torch.no_grad():
            parts = [
                self._scores(runs[first : first + LOGS_AT_ONCE]).double().numpy()
                for first in range(0, len(runs), LOGS_AT_ONCE)
            ]
        return np.concatenate(parts)

    def validate(self) -> dict[str, float]:
        """Loss and accuracy on the validation logs."""
        scores = torch.tensor(self.scores(self._validation))
        targets = torch.tensor(self._targets[self._validation])
        loss = nn.functional.cross_entropy(scores, targets, weight=self._weights.double())
        return {"loss": float(loss), "accuracy": float((scores.argmax(1) == targets).double().mean())}
