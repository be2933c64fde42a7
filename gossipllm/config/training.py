"""Settings of local training: batches, optimiser and learning rate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from gossipllm.config.choices import Arithmetic, Retain
from trust.rows.config import Reduction


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    batch_windows: int = 8
    """Sequences in one optimiser step, 1 to 4,096. Guess."""

    batch_tokens: int = 0
    """Tokens in one optimiser step, in place of `batch_windows`: as many whole windows of `data.window_tokens` as hold
    at most so many tokens. 0 to 16,777,216, 0 for `batch_windows`."""

    micro_windows: int = 0
    """Sequences of a step that go through the model at a time (gradient accumulation): a step is the same, up to
    rounding, and needs the memory of so many. 0 to 4,096, 0 for all at once."""

    learning_rate: float = 2e-3
    """Peak rate of AdamW, above 0 to 1. Wagner et al. (2024), section 4."""

    warmup_steps: int = 10
    """Steps over which the rate rises from 0, 0 to 1,000,000. Wagner et al.: 2 % of 500."""

    decay_steps: int = 0
    """Steps over which the rate falls along a cosine to a tenth; 0 keeps it. For runs of known length."""

    schedule: Literal["linear", "onecycle"] = "linear"
    """Shape of the rate: a "linear" warm-up, or "onecycle" as Wagner et al. (2024) trained, which rises along
    a cosine from a hundredth of the peak and falls along one to a fifth at decay_steps."""

    weight_decay: float = 1e-3
    """Decoupled weight decay on the adapter, 0 to 1. Wagner et al. (2024), released code."""

    clip_norm: float = 1.0
    """Largest gradient norm, above 0. Guess: guards small batches."""

    optimiser: Literal["adamw", "sgd"] = "adamw"
    """The optimiser: AdamW, or plain gradient descent without momentum, weight decay or clipping, for
    comparison with theory."""

    reduction: Reduction = "tokens"
    """What the loss is the mean of: all "tokens" that bear loss, or the means of "sequences", in which a short one
    counts as much as a long one."""

    retain: Retain = ""
    """What local steps keep of what was learned before (`learning.training.retention`): nothing; nothing, but
    "measure" in each round what of the reference set is forgotten; "predictions", a pull toward this peer's own earlier
    predictions of that set; or "subspace", no steps in the span of the adapter that the process began with. For text
    whose kind changes. The last two take steps on whole adapters."""

    retain_strength: float = 1.0
    """How strongly: how much the divergence from earlier predictions counts beside the loss, above 0 to 100; or the
    share of a step in the earlier span that is left out, above 0 to 1. Of predictions 0.5 and 1 forgot less than
    smaller learning rates at an equal loss on the new text; 4 and 8 learned badly (benchmarks/forgetting.py, one seed).
    """

    order: Literal["rounds", "once"] = "rounds"
    """In what order text is read: shuffled anew in each of the "rounds"; or each window "once" before any is read
    again, from round to round and across restarts, as in pre-training on a stream."""

    arithmetic: Arithmetic = "auto"
    """How a pass with gradients computes: "plain", operation by operation as transformers and autograd compose it; or
    "fused", with adapted layers, norms, short attention and the loss as single functions with written gradients: the
    same up to rounding, in less time (benchmarks/training_speed.py). "auto" is "plain" in simulations, which
    are to repeat earlier ones to the last bit, and "fused" elsewhere."""

    seed: int = 0
    """Seed of the split and of the batches, 0 to 2^31 - 1."""

    def windows_of(self, window_tokens: int) -> int:
        """The windows of an optimiser step, where each has so many tokens."""
        return max(1, self.batch_tokens // window_tokens) if self.batch_tokens else self.batch_windows

    def in_windows(self, window_tokens: int) -> TrainingConfig:
        """The same training with its batches counted in windows."""
        if not self.batch_tokens:
            return self
        return replace(self, batch_windows=self.windows_of(window_tokens), batch_tokens=0)

    def at_once(self, window_tokens: int) -> int:
        """The most windows that go through the model at a time."""
        windows = self.windows_of(window_tokens)
        return min(windows, self.micro_windows or windows)

    def __post_init__(self) -> None:
        if not 1 <= self.batch_windows <= 4096:
            raise ValueError(f"batch_windows must be in 1..4096, got {self.batch_windows}")
        if not 0 <= self.batch_tokens <= 2**24:
            raise ValueError(f"batch_tokens must be in 0..{2**24}, got {self.batch_tokens}")
        if not 0 <= self.micro_windows <= 4096:
            raise ValueError(f"micro_windows must be in 0..4096, got {self.micro_windows}")
        if not 0 < self.learning_rate <= 1:
            raise ValueError(f"learning_rate must be in (0, 1], got {self.learning_rate}")
        for name in ("warmup_steps", "decay_steps"):
            steps: int = getattr(self, name)
            if not 0 <= steps <= 1_000_000:
                raise ValueError(f"{name} must be in 0..1000000, got {steps}")
        if self.decay_steps and self.decay_steps <= self.warmup_steps:
            raise ValueError(
                f"decay_steps must be 0 or above warmup_steps ({self.warmup_steps}), got {self.decay_steps}"
            )
        if self.schedule == "onecycle" and not self.decay_steps:
            raise ValueError('schedule = "onecycle" needs decay_steps, the length of the run')
        if not 0 <= self.weight_decay <= 1:
            raise ValueError(f"weight_decay must be in 0..1, got {self.weight_decay}")
        most = 1 if self.retain == "subspace" else 100
        if not 0 < self.retain_strength <= most:
            raise ValueError(f"retain_strength must be in (0, {most}], got {self.retain_strength}")
        if not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be above 0, got {self.clip_norm}")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be in 0..2147483647, got {self.seed}")
