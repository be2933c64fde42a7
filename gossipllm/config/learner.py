"""The whole configuration of a learner, and which settings exclude each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gossipllm.config.adapter import AdapterConfig
from gossipllm.config.choices import MERGE_RULES, MIXINGS, TRAINS, MergeRule, Mixing, prunable_rules
from gossipllm.config.model import ModelConfig
from gossipllm.config.parts import HeadsConfig, LayersConfig
from gossipllm.config.text import DataConfig, ReferenceConfig
from gossipllm.config.training import TrainingConfig
from trust.rows.evidence_kinds import Evidence

_WHOLE_FORMS: Final[dict[Evidence, str]] = {"parameters": "paper-text", "row-cosines": "paper-code"}
"""Evidence that compares whole LoRA adapters, and the trust.form that asks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerConfig:
    """The configuration of one learner. A snapshot is valid only with the configuration that it was made with."""

    model: ModelConfig = field(default_factory=ModelConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    evidence: tuple[Evidence, ...] = ("predictions",)
    """The kinds of evidence measured of each neighbour; may be empty."""

    layers: LayersConfig = field(default_factory=LayersConfig)
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    merge: MergeRule = "svd"
    """How adapters are merged: "svd" cuts the exact mixture to the adapter's rank, "mean" averages the factors A and B
    separately as in Wagner et al. (2024), "pad" does so after filling smaller ranks up with zeros (HetLoRA). The robust
    rules of the literature stand beside them (`merging/reweighting.py`, `merging/coordinates.py`)."""

    clip: float = 4.0
    """How far a neighbour can move a merge, in times the size of this peer's own adapter, unit by unit; up to 1,000, or
    0 for no bound. What a neighbour weighs beyond goes to this peer itself. Guess: honest peers
    were at most 2.1 away (the run of `gossipllm.work.BIND_TOLERANCE`)."""

    mixing: Mixing = "parameters"
    """What the row weighs: the adapters, as in the code of Wagner et al. (2024), or their changes by the last local
    steps, added to this peer's own start, as in their text; updates then carry both. With push-sum there is no row:
    mass is pushed along edges, and all peers converge to the token-weighted mean."""

    tokens_alpha: float = 1.0
    """For push-sum: how far peers are weighted by tokens rather than samples, 0 to 1."""

    judging: bool = False
    """Whether other trust windows judge a merge than those that propose it (`gossipllm.learning.halves`)."""

    def __post_init__(self) -> None:
        train, part = self.adapter.train, self._part
        if train != "heads" and self.heads.copies:
            raise ValueError(
                f'heads.copies needs adapter.train = "heads", got "{train}": set that, or heads.copies = 0'
            )
        if self.layers.partial and self.heads.copies:
            raise ValueError(f"{part} excludes heads.copies: set one of them to 0")
        form = next((_WHOLE_FORMS[kind] for kind in self.evidence if kind in _WHOLE_FORMS), None)
        apart = not TRAINS[train].sends_products
        if apart and (part or not self.rows):
            other = f"{part} = 0" if part else 'another merge.mixing than "push-sum"'
            raise ValueError(
                f'adapter.train = "{train}" sends one factor of whole adapters and needs {other}: set that, or '
                'adapter.train = "both"'
            )
        if form and (part or apart or train in ("full", "bias")):
            other = (
                f"{part} must be 0"
                if part
                else f'adapter.train must be "both", "b" or "heads", not "{train}"'
            )
            raise ValueError(
                f'trust.form = "{form}" weighs whole LoRA adapters: {other}; or set trust.form = "ours"'
            )
        if self.adapter.prune < 1:
            for key, value, needed, given in (
                ("merge.rule", self.merge, prunable_rules(), MERGE_RULES[self.merge].prunable),
                ("merge.mixing", self.mixing, '"parameters"', self.mixing == "parameters"),
                ("adapter.train", train, '"both"', train == "both"),
            ):
                if not given:
                    raise ValueError(
                        f'adapter.prune below 1 needs {key} = {needed}, got "{value}": set that, or adapter.prune = 1'
                    )
            if form:
                raise ValueError(
                    f'trust.form = "{form}" weighs adapters of one rank, and adapter.prune below 1 lowers it: '
                    'set trust.form = "ours" or adapter.prune = 1'
                )
        if not self.rows and (part or self.adapter.modules or self.adapter.start == "own"):
            alike = "adapter.modules empty" if self.adapter.modules else 'adapter.start = "shared"'
            raise ValueError(
                'merge.mixing = "push-sum" is the mean of whole adapters of one form and needs '
                f"{f'{part} = 0' if part else alike}: set that, or another merge.mixing"
            )
        if not 0 <= self.clip <= 1000:
            raise ValueError(f"clip must be in 0..1000, got {self.clip}")
        if not 0 <= self.tokens_alpha <= 1:
            raise ValueError(f"tokens_alpha must be in 0..1, got {self.tokens_alpha}")

    @property
    def rows(self) -> bool:
        """Whether this peer computes a trust row and merges by it, rather than pushing mass along edges."""
        return MIXINGS[self.mixing].rows

    @property
    def sends_start(self) -> bool:
        """Whether updates also carry the adapter from which the last local steps began."""
        return MIXINGS[self.mixing].sends_start

    @property
    def _part(self) -> str:
        """The key that makes a round train only a part of the adapter; empty where there is none."""
        if self.layers.partial:
            return "layers.count" if self.layers.count else "layers.memory_mb"
        return "heads.copies" if self.heads.copies else ""
