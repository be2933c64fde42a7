"""The allowed values of settings that more than one module reads, each spelt out once.

A merge rule or a way of mixing is a name here with its traits; what a rule computes stands in
`learning.merging.rules.rules.RULE_FUNCTIONS` under the same name. Code asks for a trait instead of comparing names,
so that a new rule is an entry in each of the two tables. Values that belong to trust rows (`Evidence`, strategies,
`Reduction`) stand in `trust.rows`, the guard's in `trust.record.history`, because these packages lie below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

MergeRule: TypeAlias = Literal[
    "svd", "mean", "pad", "krum", "geometric-median", "centred-clip", "fltrust", "median", "trimmed"
]
"""How adapters become one (`MergeConfig.rule`)."""

Mixing: TypeAlias = Literal["parameters", "updates", "push-sum", "beside", "routed"]
"""What a trust row weighs and what it is mixed into, or that there is none (`MergeConfig.mixing`)."""

Outer: TypeAlias = Literal["none", "nesterov", "noloco"]
"""What a merge's move becomes before it is taken (`MergeConfig.outer`)."""

Also: TypeAlias = Literal["", "distil", "distil-text", "self-distil", "reference-text"]
"""What a round does on the reference set after its merge (`MergeConfig.also`)."""
TAUGHT: Final[frozenset[Also]] = frozenset({"distil", "distil-text"})
"""Those in which neighbours teach."""

Toward: TypeAlias = Literal["predictions", "changes"]
"""What of a teacher is learned (`MergeConfig.distil_toward`)."""

Retain: TypeAlias = Literal["", "measure", "predictions", "subspace"]
"""What local steps keep of earlier adapters (`TrainingConfig.retain`)."""

Arithmetic: TypeAlias = Literal["auto", "plain", "fused"]
"""How passes with gradients compute (`TrainingConfig.arithmetic`)."""

Missing: TypeAlias = Literal["renorm", "kept", "self"]
"""Whose weights count for a unit that some do not offer (`LayersConfig.missing`)."""

Train: TypeAlias = Literal["both", "b", "share-a", "alternate", "heads", "full", "bias", "all"]
"""What is trained of the model (`AdapterConfig.train`)."""

Start: TypeAlias = Literal["shared", "own"]
"""Where the factor A begins (`AdapterConfig.start`)."""

ContextOperator: TypeAlias = Literal["none", "int8", "int4", "drop", "distil"]
"""What becomes of the blocks outside the block window (`LayersConfig.context`)."""

Sampling: TypeAlias = Literal["importance", "uniform", "round-robin"]
"""How block windows are drawn (`LayersConfig.sampling`)."""

ContextSource: TypeAlias = Literal["make", "fetch"]
"""Whether a peer makes the contexts that it needs, or fetches them (`LayersConfig.contexts`)."""

Scaling: TypeAlias = Literal["standard", "rslora"]
"""By what alpha is divided (`AdapterConfig.scaling`)."""

Held: TypeAlias = Literal["whole", "int8", "int4", "nf4"]
"""How the frozen weights of the blocks are held (`ModelConfig.held`)."""

PACKED_BITS: Final[dict[str, int]] = {"int8": 8, "int4": 4}
"""Bits of a weight that this program packs itself, by the value of `ModelConfig.held` or `LayersConfig.context`."""

Device: TypeAlias = Literal["auto", "cpu", "cuda", "mps"]
Dtype: TypeAlias = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTraits:
    """What a merge rule can do, for code that must not load the rule itself."""

    unequal_ranks: bool
    """Whether adapters of other ranks can be merged."""

    prunable: bool = False
    """Whether rank k of the result comes from rank k of each adapter, at unequal ranks: then the tail of an
    adapter means the same to all peers, and `AdapterConfig.prune` may cut it off."""

    robust: bool = False
    """Whether the result depends on more than the weighted sum, so that a small weight may have no effect: what one
    neighbour would do is then measured by rule "svd"."""


MERGE_RULES: Final[dict[MergeRule, RuleTraits]] = {
    "svd": RuleTraits(unequal_ranks=True),
    "mean": RuleTraits(unequal_ranks=False),
    "pad": RuleTraits(unequal_ranks=True, prunable=True),
    "krum": RuleTraits(unequal_ranks=True, robust=True),
    "geometric-median": RuleTraits(unequal_ranks=True, robust=True),
    "centred-clip": RuleTraits(unequal_ranks=True, robust=True),
    "fltrust": RuleTraits(unequal_ranks=True, robust=True),
    "median": RuleTraits(unequal_ranks=False, robust=True),
    "trimmed": RuleTraits(unequal_ranks=False, robust=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MixingTraits:
    rows: bool
    """Whether a trust row is computed, guarded and merged by; otherwise mass is pushed along edges."""

    sends_start: bool = False
    """Whether an update also carries the adapter from which its local steps began."""

    beside: bool = False
    """Whether neighbours are mixed into a second adapter beside the own one, which no merge changes."""

    by_layer: bool = False
    """Whether a row that was chosen becomes a row for each block, by gradient on text held back for it."""


MIXINGS: Final[dict[Mixing, MixingTraits]] = {
    "parameters": MixingTraits(rows=True),
    "updates": MixingTraits(rows=True, sends_start=True),
    "push-sum": MixingTraits(rows=False),
    "beside": MixingTraits(rows=True, beside=True),
    "routed": MixingTraits(rows=True, beside=True, by_layer=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainTraits:
    """How the tensors of an adapter are trained and sent."""

    units_by_factor: bool = False
    """Whether a factor is a unit of its own, so that a round can train and send one of the two."""

    keeps_b: bool = False
    """Whether B is trained and never sent."""

    low_rank: bool = True
    """Whether there are factors; otherwise the model's own numbers are trained, as differences from the base."""

    @property
    def sends_products(self) -> bool:
        """Whether an update's factors have their partners in it, or in the public start."""
        return not (self.units_by_factor or self.keeps_b)


TRAINS: Final[dict[Train, TrainTraits]] = {
    "both": TrainTraits(),
    "b": TrainTraits(),
    "share-a": TrainTraits(keeps_b=True),
    "alternate": TrainTraits(units_by_factor=True),
    "heads": TrainTraits(),
    "full": TrainTraits(low_rank=False),
    "bias": TrainTraits(low_rank=False),
    "all": TrainTraits(low_rank=False),
}


def rules_for_unequal_ranks() -> str:
    """The names of the merge rules that take unequal ranks, as a user reads them: `"svd" or "pad"`."""
    return " or ".join(f'"{name}"' for name, traits in MERGE_RULES.items() if traits.unequal_ranks)


def prunable_rules() -> str:
    """The names of the merge rules that allow `AdapterConfig.prune`, as a user reads them."""
    return " or ".join(f'"{name}"' for name, traits in MERGE_RULES.items() if traits.prunable)
