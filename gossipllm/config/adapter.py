"""Adapter settings: which weights are trained, and in which form they are sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gossipllm.config.choices import TRAINS, Scaling, Start, Train

ALL_LINEAR: Final = "all-linear"
"""PEFT's word for all linear layers except the head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    rank: int = 8
    """Rank of this peer's LoRA factors, 1 to 256. Peers may differ in it where the merge rule is "svd" or "pad": a
    phone may take 2 and a desktop 16. Guess: low ranks suffice for one domain."""

    most_rank: int = 64
    """Largest rank accepted from neighbours, rank to 256. It bounds the size of the updates that are fetched. Guess."""

    prune: float = 1.0
    """Share of its ranks that this peer's adapter keeps after a round whose local steps lowered the weight of the last
    ones, which are then cut: above 0 to 1, 1 for never. Peers may differ in it. Needs merge.rule = "pad". HetLoRA
    (2401.06432) takes 0.99, which takes one rank at a time."""

    modules: tuple[str, ...] = ()
    """Which linear layers this peer adapts, by the last parts of their names, as "q_proj" or "attn.c_proj"; all but the
    head if it is empty or "all-linear", PEFT's word for them. Peers may differ in it: they merge what they have in
    common."""

    alpha: float = 16.0
    """LoRA scale: the update is alpha / rank * B A. Above 0. Same for all peers. The usual 2 * rank."""

    scaling: Scaling = "standard"
    """By what local steps divide alpha: the rank, or its square root ("rslora", 2312.03732), which keeps the steps of
    large ranks as large as those of small ones. Peers may differ in it: what they send is always at alpha / rank, which
    the factor that starts at zero takes up, so that merges are of exact products. An export is in the form that was
    trained."""

    dropout: float = 0.0
    """Share of the inputs of the factor A that local steps leave out at random, 0 to below 1; nothing is left out of
    what is measured. For LoRA only. Peers may differ in it. Off; the code of Wagner et al. (2024) takes 0.1."""

    seed: str = "gossipllm"
    """Public seed of the initial factor A. Same for all peers: averages of unlike A destroy the signal."""

    start: Start = "shared"
    """Where A begins: "shared" by all peers, or drawn by each on its "own" and uniform within 1/sqrt(rank), as
    in the code of Wagner et al. (2024), for reproduction. Same for all peers."""

    train: Train = "both"
    """What is trained and travels: "both" factors; only "b" with A frozen at the shared start (FFA-LoRA,
    2403.12313), which makes averages exact and updates smaller; "share-a", both factors, of which only A travels and B
    stays here (FedSA-LoRA, 2410.01463); "alternate", B in one round and A in the next, of which peers merge what the
    same factor was trained of (RoLoRA, 2409.02346); "heads", LoRA on attention only, in which each head
    has rows and columns of its own and what heads would share is frozen; "full", all weights of the blocks, of the
    final norm and of an untied head; "bias", the biases of the blocks and of the final norm (BitFit, 2106.10199);
    "all", the weights of "full" and of the token embeddings, to which the head may be tied, as in pre-training. The
    last three have no rank. Same for all peers."""

    warm_start: str = ""
    """A folder in PEFT's format, a LoRA on the same base, from which this peer's adapter starts instead of the shared
    start. Only read before the first round. Another rank is cut to `rank` by the best approximation of each product,
    whose error is told. Peers may differ in it; empty for none."""

    @property
    def named_modules(self) -> tuple[str, ...]:
        """The names in `modules`, none where all linear layers are adapted."""
        return () if self.modules == (ALL_LINEAR,) else self.modules

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= 256:
            raise ValueError(f"rank must be in 1..256, got {self.rank}")
        if not self.rank <= self.most_rank <= 256:
            raise ValueError(f"most_rank must be in rank ({self.rank})..256, got {self.most_rank}")
        if not 0 < self.prune <= 1:
            raise ValueError(f"prune must be in (0, 1], got {self.prune}")
        if not all(name.strip() for name in self.modules) or len(set(self.modules)) < len(self.modules):
            raise ValueError(f"modules must be different names, got {', '.join(self.modules)}")
        if ALL_LINEAR in self.modules and len(self.modules) > 1:
            raise ValueError(f'modules must be "{ALL_LINEAR}" alone or names, got {", ".join(self.modules)}')
        if self.scaling == "rslora" and not TRAINS[self.train].low_rank:
            raise ValueError(f'scaling must be "standard" with train = "{self.train}", which has no rank')
        if self.warm_start and self.train != "both":
            raise ValueError(
                f'warm_start needs train = "both", got "{self.train}": an adapter from elsewhere has an A of its own'
            )
        if not 0 < self.alpha <= 4096:
            raise ValueError(f"alpha must be in (0, 4096], got {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.dropout and not TRAINS[self.train].low_rank:
            raise ValueError(f'dropout must be 0 with train = "{self.train}", which has no factor A')
        apart = not TRAINS[self.train].sends_products
        if (apart or self.train in ("b", "heads")) and self.start == "own":
            raise ValueError(
                f'train = "{self.train}" needs start = "shared": frozen factors of unlike A cannot be merged'
                if not apart
                else f'train = "{self.train}" needs start = "shared": means of single factors need one start'
            )
        if self.named_modules and (self.train == "heads" or not TRAINS[self.train].low_rank):
            raise ValueError(
                f'modules must be empty with train = "{self.train}", which says itself what is trained'
            )
