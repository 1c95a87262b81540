"""The next-key network and its export: a small GPT-2 over template keys that gives the likelihood of the next key.

This is the first stage of LogGPT (Han et al., "LogGPT: Log Anomaly Detection via GPT", IEEE BigData 2023): a language model
of log keys, trained by maximum likelihood on passing runs, which calls a key a surprise if it is not among the K likeliest.
The paper's second stage, fine-tuning with a Top-K reward, is left out.

Departures from the paper:

- Two layers of 64 dimensions instead of six of 60, since a key may cost 20 µs on one thread.
- ReLU instead of GELU, for the same reason.
- Start and unknown keys are never predicted, so they take no likelihood and no rank from keys that can come.
- Windows at fixed positions instead of whole sessions: the cost of a run grows with its length, not with its square.
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

# Likeliest keys that a verdict can name beside a surprise.
EXPECTED_KEYS = 3
# A logit that no softmax gives weight to. Not infinite: infinity times zero is not a number.
NEVER = -1e9
# Largest difference of surprisals between torch and onnxruntime that is accepted, in bits.
PARITY_BITS = 1e-4
# How torch's cross-entropy marks a target that is left out.
IGNORED = -100


@dataclass(frozen=True)
class LogGPTConfig:
    """Sizes of the network.

    Attributes:
        vocabulary: Keys, with start, end and unknown.
        stride: Keys that a window scores; it reads twice as many.
        layers: Transformer blocks.
        width: Dimensions of a key.
        heads: Attention heads; must divide `width`.
        dropout: Dropout of embeddings, attention and residual branches.
    """

    vocabulary: int
    stride: int = 128
    layers: int = 2
    width: int = 64
    heads: int = 4
    dropout: float = 0.1

    @property
    def window(self) -> int:
        """Keys that a window reads at most."""
        return 2 * self.stride


class LogGPT(nn.Module):
    """GPT-2 whose output layer uses the embeddings of the keys as its weights."""

    def __init__(self, config: LogGPTConfig) -> None:
        super().__init__()
        self.config = config
        self.body = GPT2Model(
            GPT2Config(
                vocab_size=config.vocabulary,
                # Learned positions count from the begin of a window, so they tell where in the window a key is, not where
                # in the run.
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
                # Plain matrix products: onnxruntime's own attention takes three times as long on a CPU.
                attn_implementation="eager",
            )
        )
        # Added to every logit. An unknown key has no identity to predict, and start never follows anything.
        never = torch.zeros(config.vocabulary)
        never[[START, UNK]] = NEVER
        self.never: Tensor
        self.register_buffer("never", never, persistent=False)
        # The causal mask: a key sees itself and what is before it.
        later = torch.full((config.window, config.window), NEVER).triu(1)
        self.later: Tensor
        self.register_buffer("later", later[None, None], persistent=False)

    def logits(self, keys: Tensor, scored: int) -> Tensor:
        """Logits of the key after each of the last `scored` keys: (B, T) to (B, scored, vocabulary)."""
        read = keys.shape[1]
        # The causal mask is passed in: GPT-2 would build it for every window, in operations that onnxruntime is slow at.
        later = self.later[:, :, :read, :read]
        positions = torch.arange(read, device=keys.device)[None]
        hidden: Tensor = self.body(input_ids=keys, attention_mask=later, position_ids=positions).last_hidden_state
        # By index, not as a slice: the exporter cannot infer the length of a slice whose start varies.
        hidden = hidden.index_select(1, torch.arange(scored, device=keys.device) + (read - scored))
        # Output weights are the embeddings (weight tying, Press and Wolf, "Using the Output Embedding to Improve Language
        # Models", 2017), as in GPT-2.
        logits = torch.addmm(self.never, hidden.flatten(0, 1), self.body.wte.weight.T)
        return logits.view(keys.shape[0], scored, self.config.vocabulary)

    def loss(self, keys: Tensor, targets: Tensor) -> Tensor:
        """Mean negative log-likelihood of the known targets, in nats; START and UNK as targets are left out."""
        # Unknown targets teach nothing, and context targets were scored by the window before.
        wanted = targets.masked_fill((targets == UNK) | (targets == START), IGNORED)
        logits = self.logits(keys, targets.shape[1]).flatten(0, 1)
        return nn.functional.cross_entropy(logits, wanted.flatten(), ignore_index=IGNORED)

    def forward(self, keys: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What serving needs of each target, (B, scored): surprisal in bits, rank from 0, and the likeliest keys.

        Written for onnxruntime, which takes three times as long for `logsumexp` and for sums of integers.
        """
        logits = self.logits(keys, targets.shape[1])
        came = logits.gather(2, targets.unsqueeze(2))
        likeliest, expected = logits.topk(EXPECTED_KEYS, dim=2)
        highest = likeliest[:, :, :1]
        # The largest logit is taken out before the exponential, which would overflow otherwise.
        likelihood_sum = (logits - highest).exp().sum(2, keepdim=True)
        surprisal = (likelihood_sum.log() + highest - came).squeeze(2) / math.log(2)
        # Strictly greater: keys that are as likely do not make a key a surprise. Summed as floats, which onnxruntime is
        # faster at.
        rank = (logits > came).to(logits.dtype).sum(2).to(torch.int64)
        return surprisal, rank, expected


def export(network: LogGPT) -> bytes:
    """Exports the network to ONNX, with both axes of its inputs free.

    Raises:
        ExportError: onnxruntime computes something else than torch.
    """
    network = network.cpu()
    # The example has two windows and different lengths, so that no axis is traced as a constant.
    keys, targets = _examples(network.config, 2, network.config.stride, network.config.window)
    inputs = dict(zip(INPUTS, (keys, targets), strict=True))
    scored = {0: "windows", 1: "scored"}
    data = to_onnx(
        network, inputs, OUTPUTS, {"keys": {0: "windows", 1: "read"}, "targets": scored, **dict.fromkeys(OUTPUTS, scored)}
    )
    difference = _difference(network, data)
    if not difference <= PARITY_BITS:  # true for NaN, too
        raise ExportError(f"the exported network differs by {difference:.1e} bits; {PARITY_BITS:.0e} are allowed")
    return data


def _difference(network: LogGPT, data: bytes) -> float:
    """Largest difference of surprisals, in bits, over windows of every kind that serving makes."""
    served = Network(data, INPUTS, OUTPUTS, "next_key.onnx")
    stride = network.config.stride
    worst = 0.0
    # A first window, later windows with context, the shortest run, and the end of a run after its context.
    for batch, scored, read in ((1, stride, stride), (3, stride, 2 * stride), (1, 1, 1), (2, 1, stride + 1)):
        keys, targets = _examples(network.config, batch, scored, read)
        with torch.no_grad():
            expected = network(keys, targets)[0].numpy()
        surprisal = served(keys=keys.numpy(), targets=targets.numpy())[0]
        worst = max(worst, float(np.abs(surprisal - expected).max()))
    return worst


def _examples(config: LogGPTConfig, batch: int, scored: int, read: int) -> tuple[Tensor, Tensor]:
    """Random keys (batch, read) and targets (batch, scored)."""
    generator = torch.Generator().manual_seed(batch)
    keys = torch.randint(FIRST_KEY, config.vocabulary, (batch, read), generator=generator)
    return keys, torch.randint(FIRST_KEY, config.vocabulary, (batch, scored), generator=generator)
