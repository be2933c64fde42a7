"""What a learner is told: model, adapter, data, training, reference set. No torch here.

These stand together rather than beside the code they steer, because the network process reads them too
and must not import torch. `settings.py` turns TOML into them; the docstring under each field is what
`gossipllm init` writes above it, so it says what the field does, its unit, its range and where its
default comes from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from trust.config import Evidence

EMBEDDED = "embedded"
"""The name of the model and of the reference text that ship with the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    name: str = EMBEDDED
    """The frozen base model: "embedded", a folder, or a name on the Hugging Face hub. Same for all peers."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute: auto takes cuda, then mps, then cpu."""

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of the frozen base; auto takes bfloat16 where the device is fast at it. Adapters train
    in float32."""

    threads: int = 0
    """Processor threads for the learner, 0 to let torch choose. Take 1 where several peers share a machine:
    more threads than idle cores make training several times slower."""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError('name must be "embedded", a folder or a hub name, got an empty string')
        if not 0 <= self.threads <= 1024:
            raise ValueError(f"threads must be in 0..1024, got {self.threads}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    rank: int = 8
    """Rank of the LoRA factors, 1 to 256. Same for all peers. Guess: low ranks suffice for one domain."""

    alpha: float = 16.0
    """LoRA scale: the update is alpha / rank * B A. Above 0. The usual 2 * rank."""

    seed: str = "gossipllm"
    """Public seed of the initial factor A. Same for all peers: averages of unlike A destroy the signal."""

    start: Literal["shared", "own"] = "shared"
    """Where A begins: "shared" by all peers, or drawn by each on its "own" and uniform within 1/sqrt(rank), as
    in the code of Wagner et al. (2024), for reproduction. Same for all peers."""

    train: Literal["both", "b"] = "both"
    """Which factors are trained and travel: "both", or only "b" with A frozen at the shared start (FFA-LoRA,
    2403.12313), which makes averages exact and updates smaller. Same for all peers."""

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= 256:
            raise ValueError(f"rank must be in 1..256, got {self.rank}")
        if not 0 < self.alpha <= 4096:
            raise ValueError(f"alpha must be in (0, 4096], got {self.alpha}")
        if self.train == "b" and self.start == "own":
            raise ValueError(
                'train = "b" needs start = "shared": frozen factors of unlike A cannot be merged'
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    path: str = ""
    """Your text, read only: a .txt, a folder of .txt, or a .jsonl with `text` or `messages`."""

    window_tokens: int = 128
    """Tokens of one training sequence, 8 to 131,072; at most the model's context. Guess."""

    trust_fraction: float = 0.1
    """Share of the text that decides whom to trust and is never trained on, 0.01 to 0.4. Guess."""

    test_fraction: float = 0.1
    """Share of the text that only measures, 0.01 to 0.4. Guess."""

    trust_windows: int = 16
    """At most this many windows of the trust share are used at a time, 2 to 4,096. Guess; fewer were tried in
    sim/FINDINGS.md."""

    weigh_windows: int = 8
    """Of these, windows on which each neighbour's own loss is measured where trust is made of that, 2 to 4,096. Half
    as many did as well (sim/FINDINGS.md), and rows are measured on all trust windows anyway."""

    test_windows: int = 32
    """At most this many windows of the test share are measured, 2 to 4,096. Guess."""

    def __post_init__(self) -> None:
        if not 8 <= self.window_tokens <= 131_072:
            raise ValueError(f"window_tokens must be in 8..131072, got {self.window_tokens}")
        for name in ("trust_fraction", "test_fraction"):
            value: float = getattr(self, name)
            if not 0.01 <= value <= 0.4:
                raise ValueError(f"{name} must be in 0.01..0.4, got {value}")
        for name in ("trust_windows", "weigh_windows", "test_windows"):
            count: int = getattr(self, name)
            if not 2 <= count <= 4096:
                raise ValueError(f"{name} must be in 2..4096, got {count}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    batch_windows: int = 8
    """Sequences in one optimiser step, 1 to 4,096. Guess."""

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

    seed: int = 0
    """Seed of the split and of the batches, 0 to 2^31 - 1."""

    def __post_init__(self) -> None:
        if not 1 <= self.batch_windows <= 4096:
            raise ValueError(f"batch_windows must be in 1..4096, got {self.batch_windows}")
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
        if not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be above 0, got {self.clip_norm}")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be in 0..2147483647, got {self.seed}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceConfig:
    source: str = EMBEDDED
    """Public text on which all peers predict: "embedded" or a .txt. Same for all peers, never private."""

    seed: str = "gossipllm"
    """Public seed that picks the windows. Same for all peers."""

    windows: int = 20
    """Windows of the reference set, 1 to 4,096. Five told languages apart, too (sim/FINDINGS.md)."""

    window_tokens: int = 24
    """Tokens of each window, 2 to 4,096; every position but the first is predicted. Guess."""

    top: int = 8
    """Most probable tokens sent of each position, 1 to 256. Two told languages apart, too (sim/FINDINGS.md)."""

    positions: Literal["all", "last"] = "all"
    """What is sent of each window: log-probabilities at "all" positions, or raw logits at the "last" one only,
    as in the code of Wagner et al. (2024), for reproduction. Same for all peers."""

    def __post_init__(self) -> None:
        if not 1 <= self.windows <= 4096:
            raise ValueError(f"windows must be in 1..4096, got {self.windows}")
        if not 2 <= self.window_tokens <= 4096:
            raise ValueError(f"window_tokens must be in 2..4096, got {self.window_tokens}")
        if not 1 <= self.top <= 256:
            raise ValueError(f"top must be in 1..256, got {self.top}")
        rows = self.windows * (1 if self.positions == "last" else self.window_tokens - 1)
        if rows > 65_536:
            raise ValueError(f"windows * (window_tokens - 1) must be at most 65536, got {rows}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerConfig:
    """Everything that a learner needs to know; what a snapshot is only valid with."""

    model: ModelConfig = field(default_factory=ModelConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    evidence: tuple[Evidence, ...] = ("predictions",)
    """What is measured of each neighbour; nothing where it is empty."""

    merge: Literal["svd", "mean"] = "svd"
    """How adapters become one: svd is the exact mixture brought to the adapter's rank, mean averages the
    factors apart as in Wagner et al. (2024)."""

    mixing: Literal["parameters", "updates"] = "parameters"
    """What the row weighs: the adapters, as in the code of Wagner et al. (2024), or what each gained by its
    last local steps, added to one's own start, as in their text. For the latter, updates carry both."""
