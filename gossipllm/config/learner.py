"""The whole configuration of a learner, and which settings exclude each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gossipllm.config.adapter import AdapterConfig
from gossipllm.config.choices import (
    MERGE_RULES,
    MIXINGS,
    TRAINS,
    Also,
    MergeRule,
    Mixing,
    Outer,
    Toward,
    prunable_rules,
)
from gossipllm.config.model import ModelConfig
from gossipllm.config.parts import HeadsConfig, LayersConfig
from gossipllm.config.text import DataConfig, ReferenceConfig
from gossipllm.config.training import TrainingConfig
from trust.rows.evidence_kinds import Evidence
from wire.updates.packing import Packing
from wire.updates.units import MAX_RANK

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
    rules of the literature stand beside them (`merging/rules/reweighting.py`, `merging/rules/coordinates.py`)."""

    clip: float = 4.0
    """How far a neighbour can move a merge, in times the size of this peer's own adapter, unit by unit; up to 1,000, or
    0 for no bound. What a neighbour weighs beyond goes to this peer itself. Guess: honest peers
    were at most 2.1 away (the run of `gossipllm.work.BIND_TOLERANCE`)."""

    mixing: Mixing = "parameters"
    """What the row weighs: the adapters, as in the code of Wagner et al. (2024), or their changes by the last local
    steps, added to this peer's own start, as in their text; updates then carry both. "beside" mixes neighbours into a
    second adapter beside the own one, which no merge changes (FedALT); "routed" does so with a row for each block. With
    push-sum there is no row: mass is pushed along edges, and all peers converge to the token-weighted mean."""

    outer: Outer = "none"
    """What the move of a merge becomes before it is taken: "none", itself; "nesterov" (DiLoCo, 2311.08105) or "noloco"
    (2506.10911), momentum over the moves of the last merges."""

    outer_momentum: float = 0.5
    """How much of the last moves is kept, 0 to below 1. NoLoCo; DiLoCo has 0.9, with far more steps in a round."""

    outer_rate: float = 0.7
    """How much of a move is taken, above 0 to 2. DiLoCo and NoLoCo."""

    also: Also = ""
    """What follows a merge: nothing; "distil", steps toward the predictions of the members of its row on the reference
    set (`gossipllm.learning.distilling`); "distil-text", toward these and as much toward the text of that set, as
    FedMKT's loss has both (2406.02224); or as controls "self-distil", toward this peer's own predictions of before
    the merge, and "reference-text", toward the text of that set alone."""

    distil_share: float = 0.25
    """Most of the cost of a round's local steps that distilling takes, 0.01 to 1."""

    packing: Packing = "whole"
    """How finely updates are rounded, so that they travel packed (`wire.updates.packing`); "whole" for not at all.
    Peers may differ in it. With mixing = "updates" and "push-sum" they always travel whole."""

    distil_toward: Toward = "predictions"
    """What of a teacher is learned: its "predictions", or its "changes" of its base's predictions, added to those of
    this peer's base (`gossipllm.learning.passes.targets`), which are the same where the bases are. Of a teacher whose
    base's predictions are not known, its predictions. Changes did no better (benchmarks/distilling.py, one seed), and
    peers do not send what their bases predict."""

    tokens_alpha: float = 1.0
    """For push-sum: how far peers are weighted by tokens rather than samples, 0 to 1."""

    judging: bool = False
    """Whether other trust windows judge a merge than those that propose it (`learning.measuring.halves`)."""

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
        if apart:
            self._check_apart()
        if form and (part or apart or not TRAINS[train].low_rank):
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
        if not self.rows and (part or self.adapter.named_modules or self.adapter.start == "own"):
            alike = "adapter.modules empty" if self.adapter.named_modules else 'adapter.start = "shared"'
            raise ValueError(
                'merge.mixing = "push-sum" is the mean of whole adapters of one form and needs '
                f"{f'{part} = 0' if part else alike}: set that, or another merge.mixing"
            )
        if MIXINGS[self.mixing].beside:
            self._check_beside()
        self._check_outer()
        self._check_also()
        self._check_retaining()
        self._check_memory()
        if not 0 <= self.clip <= 1000:
            raise ValueError(f"clip must be in 0..1000, got {self.clip}")
        if not 0 <= self.tokens_alpha <= 1:
            raise ValueError(f"tokens_alpha must be in 0..1, got {self.tokens_alpha}")

    def _check_apart(self) -> None:
        part, train = self._part, self.adapter.train
        if part or not self.rows:
            other = f"{part} = 0" if part else 'another merge.mixing than "push-sum"'
            raise ValueError(
                f'adapter.train = "{train}" sends one factor of whole adapters and needs {other}: set that, or '
                'adapter.train = "both"'
            )

    def _check_outer(self) -> None:
        pruned = self.adapter.prune < 1
        if self.outer != "none" and (not self.rows or MIXINGS[self.mixing].beside or pruned):
            other = "adapter.prune = 1" if pruned else 'merge.mixing = "parameters" or "updates"'
            raise ValueError(f'merge.outer = "{self.outer}" needs {other}: set that, or merge.outer = "none"')
        if not 0 <= self.outer_momentum < 1:
            raise ValueError(f"outer_momentum must be in [0, 1), got {self.outer_momentum}")
        if not 0 < self.outer_rate <= 2:
            raise ValueError(f"outer_rate must be in (0, 2], got {self.outer_rate}")

    def _check_also(self) -> None:
        if not 0.01 <= self.distil_share <= 1:
            raise ValueError(f"distil_share must be in 0.01..1, got {self.distil_share}")
        if self.also:
            self._check_whole(
                f'merge.also = "{self.also}" takes steps on whole adapters toward log-probabilities',
                'merge.also = ""',
            )

    def _check_retaining(self) -> None:
        retain = self.training.retain
        if retain in ("", "measure"):
            return
        self._check_whole(f'training.retain = "{retain}" keeps whole adapters', 'training.retain = ""')
        if retain == "subspace" and self.adapter.train != "both":
            raise ValueError(
                f'training.retain = "subspace" is of both factors of LoRA and needs adapter.train = "both", got '
                f'"{self.adapter.train}": set that, or training.retain = ""'
            )

    def _check_whole(self, what: str, without: str) -> None:
        """Raise `ValueError` where steps are not on whole adapters, or the reference set is not of log-probabilities;
        `without` is the setting that does not need it."""
        for needed, given in (
            (
                'merge.mixing = "parameters" or "updates"',
                self.rows and not MIXINGS[self.mixing].beside,
            ),
            (f"{self._part} = 0", not self._part),
            ('adapter.train other than "share-a" and "alternate"', TRAINS[self.adapter.train].sends_products),
            ('reference.positions = "all"', self.reference.positions == "all"),
        ):
            if not given:
                raise ValueError(f"{what} and needs {needed}: set that, or {without}")

    def _check_memory(self) -> None:
        batch, window = self.training.batch_tokens, self.data.window_tokens
        if 0 < batch < window:
            raise ValueError(
                f"training.batch_tokens must be 0 or at least data.window_tokens ({window}), got {batch}"
            )
        if self.layers.checkpoint and self.heads.mode == "subnet":
            raise ValueError('heads.mode = "subnet" excludes layers.checkpoint: set mode = "mask"')
        if self.model.held != "whole" and self.layers.context != "none":
            raise ValueError(
                f'model.held = "{self.model.held}" holds all blocks so, also those that are trained, and excludes '
                f'layers.context = "{self.layers.context}": set one of them'
            )

    def _check_beside(self) -> None:
        part, adapter = self._part, self.adapter
        for needed, given in (
            ('adapter.train = "both"', adapter.train == "both"),
            (f"adapter.rank of at most {MAX_RANK // 2}", adapter.rank <= MAX_RANK // 2),
            (f"{part} = 0", not part),
        ):
            if not given:
                raise ValueError(
                    f'merge.mixing = "{self.mixing}" keeps two whole adapters beside each other and needs {needed}: '
                    "set that, or another merge.mixing"
                )

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
