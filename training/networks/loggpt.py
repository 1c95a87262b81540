"""Keys in, the likelihood of the next key out: a small GPT-2 over template keys, and its ONNX form.

This is the first stage of LogGPT (Han et al., "LogGPT: Log Anomaly Detection via GPT", IEEE BigData 2023), trained by
log-likelihood on passing runs. Departures: two layers of 64 dimensions instead of six of 60, since a key may cost 20 µs on
one thread; ReLU for GELU, for the same reason; start and unknown keys are never predicted, so they take no likelihood and
no rank from keys that can come; windows at fixed positions instead of whole sessions.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model

from stream_triage.inference import Network
from stream_triage.stages.next_key import END, FIRST_KEY, INPUTS, OUTPUTS, START, UNK
from training.networks.export import ExportError, to_onnx

__all__ = ["EXPECTED_KEYS", "LogGPT", "LogGPTConfig", "export"]

EXPECTED_KEYS = 3
NEVER = -1e9
PARITY_BITS = 1e-4


@dataclass(frozen=True)
class LogGPTConfig:
    """Sizes. `vocabulary` counts start, end and unknown; a window has two strides of keys."""

    vocabulary: int
    stride: int = 128
    layers: int = 2
    width: int = 64
    heads: int = 4
    dropout: float = 0.1

    @property
    def window(self) -> int:
        return 2 * self.stride


class LogGPT(nn.Module):
    """GPT-2 with the embedding of a key as its output weights, too."""

    def __init__(self, config: LogGPTConfig) -> None:
        super().__init__()
        self.config = config
        self.body = GPT2Model(
            GPT2Config(
                vocab_size=config.vocabulary,
                n_positions=config.window,
                n_embd=config.width,
                n_layer=config.layers,
                n_head=config.heads,
                activation_function="relu",
                resid_pdrop=config.dropout,
                embd_pdrop=config.dropout,
                attn_pdrop=config.dropout,
                bos_token_id=START,
                eos_token_id=END,
                use_cache=False,
                # Plain matrix products: onnxruntime takes three times as long for its own attention on a CPU.
                attn_implementation="eager",
            )
        )
        never = torch.zeros(config.vocabulary)
        never[[START, UNK]] = NEVER
        self.never: Tensor
        self.register_buffer("never", never, persistent=False)
        later = torch.full((config.window, config.window), NEVER).triu(1)
        self.later: Tensor
        self.register_buffer("later", later[None, None], persistent=False)

    def logits(self, keys: Tensor, scored: int) -> Tensor:
        """Shape (B, scored, vocabulary): of the key after each of the last `scored` of `keys` (B, T)."""
        read = keys.shape[1]
        # Given, the mask need not be worked out for every window, in steps that onnxruntime is slow at.
        later = self.later[:, :, :read, :read]
        places = torch.arange(read, device=keys.device)[None]
        hidden: Tensor = self.body(input_ids=keys, attention_mask=later, position_ids=places).last_hidden_state
        # By places, not as a slice: of a slice the exporter cannot tell how long it is.
        hidden = hidden.index_select(1, torch.arange(scored, device=keys.device) + (read - scored))
        logits = torch.addmm(self.never, hidden.flatten(0, 1), self.body.wte.weight.T)
        return logits.view(keys.shape[0], scored, self.config.vocabulary)

    def loss(self, keys: Tensor, targets: Tensor) -> Tensor:
        """Mean over the known targets, in nats; START as a target stands for none."""
        wanted = targets.masked_fill((targets == UNK) | (targets == START), -100)
        return nn.functional.cross_entropy(self.logits(keys, targets.shape[1]).flatten(0, 1), wanted.flatten())

    def forward(self, keys: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What serving asks: surprisal in bits, rank and the likeliest keys; see OUTPUTS of the stage.

        Written for onnxruntime, which takes three times as long for `logsumexp` and for sums of integers.
        """
        logits = self.logits(keys, targets.shape[1])
        came = logits.gather(2, targets.unsqueeze(2))
        likeliest, expected = logits.topk(EXPECTED_KEYS, dim=2)
        highest = likeliest[:, :, :1]
        likelihood_sum = (logits - highest).exp().sum(2, keepdim=True)
        surprisal = (likelihood_sum.log() + highest - came).squeeze(2) / math.log(2)
        rank = (logits > came).to(logits.dtype).sum(2).to(torch.int64)
        return surprisal, rank, expected


def export(network: LogGPT) -> bytes:
    """The network as ONNX, both axes of its inputs free. Raises `ExportError` where onnxruntime computes anything else."""
    network = network.cpu()
    keys, targets = _examples(network.config, 2, network.config.stride, network.config.window)
    inputs = dict(zip(INPUTS, (keys, targets), strict=True))
    scored = {0: "windows", 1: "scored"}
    data = to_onnx(
        network, inputs, OUTPUTS, {"keys": {0: "windows", 1: "read"}, "targets": scored, **dict.fromkeys(OUTPUTS, scored)}
    )
    difference = _difference(network, data)
    if not difference <= PARITY_BITS:
        raise ExportError(f"the exported network differs by {difference:.1e} bits; {PARITY_BITS:.0e} are allowed")
    return data


def _difference(network: LogGPT, data: bytes) -> float:
    """Largest difference of surprisals, in bits, over windows of every kind."""
    served = Network(data, INPUTS, OUTPUTS, "next_key.onnx")
    stride = network.config.stride
    worst = 0.0
    for batch, scored, read in ((1, stride, stride), (3, stride, 2 * stride), (1, 1, 1), (2, 1, stride + 1)):
        keys, targets = _examples(network.config, batch, scored, read)
        with torch.no_grad():
            expected = network(keys, targets)[0].numpy()
        found = served(keys=keys.numpy(), targets=targets.numpy())[0]
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst


def _examples(config: LogGPTConfig, batch: int, scored: int, read: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(batch)
    keys = torch.randint(FIRST_KEY, config.vocabulary, (batch, read), generator=generator)
    return keys, torch.randint(FIRST_KEY, config.vocabulary, (batch, scored), generator=generator)
