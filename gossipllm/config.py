"""What a learner is told: model, adapter, data, training, reference set. No torch here.

These stand together rather than beside the code they steer, because the network process reads them too
and must not import torch. `settings.py` turns TOML into them; the docstring under each field is what
`gossipllm init` writes above it, so it says what the field does, its unit, its range and where its
default comes from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

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
    """Rank of this peer's LoRA factors, 1 to 256. Peers may differ in it where the merge rule is "svd" or "pad": a
    phone may take 2 and a desktop 16. Guess: low ranks suffice for one domain."""

    most_rank: int = 64
    """Largest rank taken of neighbours, rank to 256: what bounds the size of what is fetched of them. Guess."""

    prune: float = 1.0
    """Share of its ranks that this peer's adapter goes on with after a round whose local steps lowered the weight of
    the others, the last ones: above 0 to 1, 1 for never. Peers may differ in it. Needs merge.rule = "pad". HetLoRA
    (2401.06432) takes 0.99, which takes one rank at a time."""

    modules: tuple[str, ...] = ()
    """Which linear layers this peer adapts, by the last parts of their names, as "q_proj" or "attn.c_proj"; all where
    it is empty. Peers may differ in it: they merge what they have in common."""

    alpha: float = 16.0
    """LoRA scale: the update is alpha / rank * B A. Above 0. Same for all peers. The usual 2 * rank."""

    seed: str = "gossipllm"
    """Public seed of the initial factor A. Same for all peers: averages of unlike A destroy the signal."""

    start: Literal["shared", "own"] = "shared"
    """Where A begins: "shared" by all peers, or drawn by each on its "own" and uniform within 1/sqrt(rank), as
    in the code of Wagner et al. (2024), for reproduction. Same for all peers."""

    train: Literal["both", "b", "heads", "full", "bias"] = "both"
    """What is trained and travels: "both" factors; only "b" with A frozen at the shared start (FFA-LoRA,
    2403.12313), which makes averages exact and updates smaller; "heads", LoRA on attention only, in which each head
    has rows and columns of its own and what heads would share is frozen; "full", all weights of the blocks, of the
    final norm and of an untied head; "bias", the biases of the blocks and of the final norm (BitFit, 2106.10199). The
    last two know no rank. Same for all peers."""

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= 256:
            raise ValueError(f"rank must be in 1..256, got {self.rank}")
        if not self.rank <= self.most_rank <= 256:
            raise ValueError(f"most_rank must be in rank ({self.rank})..256, got {self.most_rank}")
        if not 0 < self.prune <= 1:
            raise ValueError(f"prune must be in (0, 1], got {self.prune}")
        if not all(name.strip() for name in self.modules) or len(set(self.modules)) < len(self.modules):
            raise ValueError(f"modules must be different names, got {', '.join(self.modules)}")
        if not 0 < self.alpha <= 4096:
            raise ValueError(f"alpha must be in (0, 4096], got {self.alpha}")
        if self.train in ("b", "heads") and self.start == "own":
            raise ValueError(
                f'train = "{self.train}" needs start = "shared": frozen factors of unlike A cannot be merged'
            )
        if self.modules and self.train in ("heads", "full", "bias"):
            raise ValueError(
                f'modules must be empty with train = "{self.train}", which says itself what is trained'
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersConfig:
    """Training a few blocks at a time, after LEFF (Shen et al., NeurIPS 2025), with no server."""

    count: int = 0
    """Blocks trained in a round, neighbouring ones, drawn anew each round; 0 for all, or for as many as `memory_mb`
    holds. Peers may differ in it. At most the model's blocks."""

    memory_mb: int = 0
    """Memory that a training step may take, in MB of 10^6 bytes, from which the number of blocks follows by an estimate
    (base, context, adapter, a batch's activations; the libraries' some hundred MB come on top); 0 where `count` says
    it. 0 to 1,000,000."""

    sampling: Literal["importance", "uniform", "round-robin"] = "importance"
    """How the blocks of a round are drawn: by "importance", the sum of (gradient * weight)^2 that this peer and its
    neighbours measured; "uniform"; or in turn."""

    temperature: float = 1.0
    """Temperature of the softmax over standardised importances, 0.01 to 100. Guess."""

    floor: float = 0.1
    """Share of the draws that is uniform, 0.01 to 1: no block is forgotten. Guess."""

    smoothing: float = 0.5
    """How much of a block's importance is kept when it is measured again, 0 to 0.99. Guess."""

    probe_every: int = 0
    """Rounds between probes of all blocks, block by block, 0 to 10,000; 0 for none: importance then is what training
    happens to tell of the blocks it trains. Needs `count` or `memory_mb`."""

    context: Literal["none", "int8", "int4", "drop", "distil"] = "none"
    """What the other blocks are while a window of blocks is trained: as they are; in 8 or 4 bits; partly dropped
    (Offsite-Tuning, 2302.04870); or distilled into fewer blocks (LEFF). The base stays beside it, to measure with, so
    only the last two save memory."""

    ratio: float = 0.5
    """Share of the other blocks that "drop" and "distil" leave, 0.05 to 1. LEFF studies a curve of it."""

    contexts: Literal["make", "fetch"] = "make"
    """Whether this peer distils contexts itself, and gives them to others, or fetches them from neighbours and, until
    it has one, drops blocks. Only for "distil". Who makes them offers the last four that it made, and those made
    earlier no more: neighbours that fetch find the windows of its last rounds."""

    distil_steps: int = 100
    """Optimiser steps of distilling one block, 1 to 100,000. Same for all who exchange contexts. Guess."""

    distil_alpha: float = 0.5
    """Weight of the attention maps against the hidden states in distilling, 0 to 1. Same for all who exchange
    contexts. Guess."""

    checkpoint: bool = False
    """Whether only the inputs of blocks are kept for the backward pass and the rest is computed again: less memory,
    a third more time. Needs `count` or `memory_mb`; `count` may be all of the blocks."""

    missing: Literal["renorm", "kept", "self"] = "kept"
    """Whose weights count for a block that some do not offer: of those who trained it alone, as in LEFF ("renorm"); of
    those and of this peer, whose own block counts, trained or not ("kept"); or of all, what others do not offer going
    to this peer's own block ("self"). With rows that trust few, "renorm" takes over whole what only a stranger
    trained, and "kept" did best (sim/FINDINGS.md)."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("count", 0, 256),
            ("memory_mb", 0, 1_000_000),
            ("temperature", 0.01, 100),
            ("floor", 0.01, 1),
            ("smoothing", 0, 0.99),
            ("probe_every", 0, 10_000),
            ("ratio", 0.05, 1),
            ("distil_steps", 1, 100_000),
            ("distil_alpha", 0, 1),
        ):
            value: float = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} must be in {least}..{most}, got {value}")
        if self.count and self.memory_mb:
            raise ValueError("count and memory_mb exclude each other: one of them decides how many blocks")
        if self.context != "none" and not self.partial:
            raise ValueError(
                f'context = "{self.context}" needs count or memory_mb: else there are no other blocks'
            )
        for name in ("checkpoint", "probe_every"):
            if getattr(self, name) and not self.partial:
                raise ValueError(
                    f"{name} is of training in windows of blocks and needs count, which may be all blocks, or memory_mb"
                )

    @property
    def partial(self) -> bool:
        """Whether only some blocks are trained in a round."""
        return bool(self.count or self.memory_mb)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadsConfig:
    """Which attention heads this peer trains, where adapter.train = "heads". Owners follow from the peers that are
    here by rendezvous hashing: nobody deals them out."""

    copies: int = 0
    """Peers that own each head, 1 to 64: 1 for disjoint parts, more for redundancy; 0 for everybody owns all."""

    capacity: int = 100
    """This peer's part of the work relative to others', 1 to 1,000: twice the capacity owns twice the heads."""

    epoch_rounds: int = 1
    """Rounds after which the heads are dealt anew, 1 to 10,000. Guess."""

    mode: Literal["mask", "subnet"] = "mask"
    """How others' heads are left out of training: "mask", the whole model is computed and only the own heads
    change; or "subnet", only the own heads are computed, and what they say counts as much as all heads would. The
    latter needs `copies` above 0."""

    def __post_init__(self) -> None:
        if not 0 <= self.copies <= 64:
            raise ValueError(f"copies must be in 0..64, got {self.copies}")
        if not 1 <= self.capacity <= 1000:
            raise ValueError(f"capacity must be in 1..1000, got {self.capacity}")
        if not 1 <= self.epoch_rounds <= 10_000:
            raise ValueError(f"epoch_rounds must be in 1..10000, got {self.epoch_rounds}")
        if self.mode == "subnet" and not self.copies:
            raise ValueError('mode = "subnet" needs copies above 0: with 0 every peer owns all heads')


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

    optimiser: Literal["adamw", "sgd"] = "adamw"
    """What takes the steps: AdamW, or plain gradient descent without momentum, weight decay or clipping, for
    comparison with theory."""

    reduction: Literal["tokens", "sequences"] = "tokens"
    """What the loss is the mean of: all "tokens" that bear loss, or the means of "sequences", in which a short one
    counts as much as a long one."""

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


_WHOLE_FORMS: Final[dict[Evidence, str]] = {"parameters": "paper-text", "row-cosines": "paper-code"}
"""Evidence that compares whole LoRA adapters, and the trust.form that asks for it."""


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

    layers: LayersConfig = field(default_factory=LayersConfig)
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    merge: Literal["svd", "mean", "pad"] = "svd"
    """How adapters become one: svd is the exact mixture brought to the adapter's rank, mean averages the
    factors apart as in Wagner et al. (2024), pad does so after bringing ranks together with zeros (HetLoRA)."""

    mixing: Literal["parameters", "updates", "push-sum"] = "parameters"
    """What the row weighs: the adapters, as in the code of Wagner et al. (2024), or what each gained by its
    last local steps, added to one's own start, as in their text. For the latter, updates carry both. With push-sum
    there is no row: mass is pushed along edges, and all come to the mean that tokens weight."""

    tokens_alpha: float = 1.0
    """For push-sum: how far peers are weighted by tokens rather than samples, 0 to 1."""

    def __post_init__(self) -> None:
        train, part = self.adapter.train, self._part
        if train != "heads" and self.heads.copies:
            raise ValueError(
                f'heads.copies needs adapter.train = "heads", got "{train}": set that, or heads.copies = 0'
            )
        if self.layers.partial and self.heads.copies:
            raise ValueError(f"{part} excludes heads.copies: set one of them to 0")
        form = next((_WHOLE_FORMS[kind] for kind in self.evidence if kind in _WHOLE_FORMS), None)
        if form and (part or train in ("full", "bias")):
            other = (
                f"{part} must be 0"
                if part
                else f'adapter.train must be "both", "b" or "heads", not "{train}"'
            )
            raise ValueError(
                f'trust.form = "{form}" weighs whole LoRA adapters: {other}; or set trust.form = "ours"'
            )
        if self.adapter.prune < 1:
            for key, value, needed in (
                ("merge.rule", self.merge, "pad"),
                ("merge.mixing", self.mixing, "parameters"),
                ("adapter.train", train, "both"),
            ):
                if value != needed:
                    raise ValueError(
                        f'adapter.prune below 1 needs {key} = "{needed}", got "{value}": set that, or adapter.prune = 1'
                    )
            if form:
                raise ValueError(
                    f'trust.form = "{form}" weighs adapters of one rank, and adapter.prune below 1 lowers it: '
                    'set trust.form = "ours" or adapter.prune = 1'
                )
        if self.mixing == "push-sum" and (part or self.adapter.modules or self.adapter.start == "own"):
            alike = "adapter.modules empty" if self.adapter.modules else 'adapter.start = "shared"'
            raise ValueError(
                'merge.mixing = "push-sum" is the mean of whole adapters of one form and needs '
                f"{f'{part} = 0' if part else alike}: set that, or another merge.mixing"
            )
        if not 0 <= self.tokens_alpha <= 1:
            raise ValueError(f"tokens_alpha must be in 0..1, got {self.tokens_alpha}")

    @property
    def _part(self) -> str:
        """The key that lets a round train a part of the adapter only; empty where none does."""
        if self.layers.partial:
            return "layers.count" if self.layers.count else "layers.memory_mb"
        return "heads.copies" if self.heads.copies else ""
