"""The methods that `gossipllm sim` compares: one table of names, and what each changes of a scenario's settings.

    NAME          a row of the table
    A*B           a product of two or three kinds of evidence (of s1, s2 and s3)
    NAME+CHANGE   one difference from NAME; several may follow each other

The scenario's tables [layers], [heads] and [trust] say how many blocks are trained, who owns which heads and how
much the amount of text counts. Only methods whose names ask for it (+layers, +heads, +tokens) read them:
`fedavg+layers` trains block windows, `fedavg` all blocks. `reading.py` has the whole law.

Methods that compare no predictions reduce the reference set to one window of two tokens, so that they do not pay
for evidence that nobody reads and the costs of methods can be compared.

`s1`, `s2`, `s3` are the three trust strategies of Wagner, Fan and Jaggi (2024, arXiv 2404.09753) in this project's
form. `-text` makes rows by the equations that their paper prints, `-code` by their released code; both without a
guard, with A and B averaged apart. All of them mix adapters, theta_i <- sum_j w_ij theta_j, as the code does, so that
forms differ in their evidence only. `+updates` mixes what each peer gained by its local steps, as the paper's
Algorithm 1 does, but no method here is that algorithm to the letter:

* Strategy 2 measures the neighbours' models on this peer's data, as the released code does. The text around
  equation 3 has it the other way round, this peer's model on the others' data, which would move data or models.
* Evidence is measured after the local steps of the round, on the adapters that are then mixed.
* There is no eta: gains are added as they are. Algorithm 1 scales the mixed updates by eta and subtracts them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from gossipllm.config.choices import (
    MIXINGS,
    TRAINS,
    Also,
    MergeRule,
    Missing,
    Mixing,
    Outer,
    Start,
    Train,
)
from trust.errors import UserMistake
from trust.rows.config import TrustConfig, evidence_of
from trust.rows.evidence_kinds import EVIDENCE, Evidence, Factor
from trust.rows.strategies import STRATEGIES, Form

TrainingText: TypeAlias = Literal["own", "trust", "public", "kind", "all"]
"""A peer's own training split; that and its "trust" split; that and the "public" text of the reference set; the
training splits of all peers of the same "kind", whose largest category is the same; or those of "all" peers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What a method changes of the scenario: None keeps the scenario's value, `reference` names fields to replace."""

    about: str
    strategy: str
    """A name of the table in `trust.rows.strategies`."""
    factors: tuple[Factor, ...] = ()
    """For the strategy "product": the kinds of evidence whose weights are multiplied."""
    form: Form = "ours"
    guard: bool | None = None
    defended: bool = True
    """Whether the scenario's defences stand where there is a guard; without, the guard compares whole rows only."""
    merge: MergeRule | None = None
    mixing: Mixing = "parameters"
    outer: Outer = "none"
    also: Also = ""
    """What follows a merge (`LearnerConfig.also`)."""
    ranks: int = 1
    """Factor on the adapters' rank and alpha."""
    start: Start | None = None
    train: Train | None = None
    tokens: bool = False
    """Whether weights are multiplied by each peer's amount of text to the power trust.tokens_power (0 counts as 1)."""
    layers: bool = False
    """Whether block windows are trained, as [layers] says, instead of all blocks."""
    heads: bool = False
    """Whether each attention head is trained by a few peers only, as [heads] says, instead of by all."""
    missing: Missing | None = None
    rate: float = 1.0
    """Factor on the scenario's learning rate."""
    decay: bool = False
    """Whether the rate falls on plateaus of each peer's trust loss, until the peer settles, instead of over the run."""
    steps: int = 1
    """Factor on the local steps of a round."""
    batch: int = 1
    """Factor on the windows of a batch."""
    text: TrainingText = "own"
    """What a peer trains on; its trust and test splits stay its own."""
    merges: bool = True
    """Whether rows are applied. Without, they are computed and recorded while every peer trains alone."""
    reference: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def merging(self) -> bool:
        """Whether peers fetch, compare and weigh each other at all."""
        return STRATEGIES[self.strategy].merges

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """What is measured of each neighbour."""
        return evidence_of(trust_of(self, TrustConfig(), fixed={}))

    @property
    def predicts(self) -> bool:
        """Whether it reads predictions on the reference set, as evidence or to distil them."""
        return bool(self.also) or any(EVIDENCE[kind].positions is not None for kind in self.evidence)


def _plain(strategy: str) -> Method:
    """A strategy as it is."""
    return Method(about=STRATEGIES[strategy].about, strategy=strategy)


def _text(strategy: Factor, about: str) -> Method:
    published = _PUBLISHED_ROWS if strategy == "predictions" else {}
    return Method(
        about=about, strategy=strategy, form="paper-text", guard=False, merge="mean", reference=published
    )


def _code(strategy: Factor, about: str) -> Method:
    return replace(_text(strategy, about), form="paper-code", start="own", rate=_OWN_START_RATE)


_OWN_START_RATE: Final = 1 / 8
"""An A drawn within 1/sqrt(rank) instead of 1/sqrt(width) is several times larger, and so is every step of B.
Tuned for training alone from such a start, on the benchmark of table 4. With the rate of a shared start, training
raises the perplexity far above the base's (sim/FINDINGS.md)."""


_PUBLISHED_ROWS: Final[dict[str, Any]] = {"windows": 200, "positions": "last", "top": 100}
"""Wagner et al. (2024), released code: 200 windows, of each the 100 largest logits at its last position."""


METHODS: Final[dict[str, Method]] = {
    "local": _plain("local"),
    "pooled": replace(
        _plain("local"),
        about="every peer trains alone on the text of all peers of its kind, which no peer has",
        text="kind",
    ),
    "everybody": replace(
        _plain("local"),
        about="every peer trains alone on the text of all peers, in as many steps as on its own",
        text="all",
    ),
    "fedavg": Method(about=STRATEGIES["uniform"].about, strategy="uniform", guard=False, merge="mean"),
    "tokens": Method(
        about="averaging weighted by the amount of text that each peer trained on",
        strategy="uniform",
        guard=False,
        merge="mean",
        tokens=True,
    ),
    "pushsum": Method(
        about="the exact mean over the network, weighted by text, by pushing mass along edges",
        strategy="uniform",
        guard=False,
        merge="mean",
        mixing="push-sum",
    ),
    "theoretical": Method(
        about="fixed rows P P' from the true mixtures of texts, which no peer knows",
        strategy="fixed",
        guard=False,
    ),
    "s1": _plain("weights"),
    "s2": _plain("validation"),
    "s3": _plain("predictions"),
    "learned": _plain("learned"),
    "fomo": replace(_plain("fomo"), guard=False),
    "balance": replace(_plain("balance"), guard=False),
    "ubar": replace(_plain("ubar"), guard=False),
    "s1-text": _text("weights", "softmax of the cosine of all factors as one vector"),
    "s2-text": _text("validation", "softmax of minus the cross-entropy on this peer's trust split"),
    "s3-text": _text("predictions", "softmax of minus the L1 distance of raw logits, 200 positions, top 100"),
    "local-code": Method(
        about="every peer trains alone, from a random A of its own",
        strategy="local",
        guard=False,
        merge="mean",
        start="own",
        rate=_OWN_START_RATE,
    ),
    "s1-code": _code("weights", "softmax of the mean cosine of rows; a random A for each peer"),
    "s2-code": _code(
        "validation", "softmax of minus the perplexity on random windows, other ones for each pair"
    ),
    "s3-code": _code("predictions", "as s3-text, distances scaled to sum to ten; a random A for each peer"),
}
"""Name -> method. Products have no names here: they are written `s1*s3`."""


def methods() -> dict[str, Method]:
    """`METHODS`, and under its own name each strategy that none of them uses."""
    named = {method.strategy for method in METHODS.values()} | {"product"}
    return METHODS | {name: _plain(name) for name in STRATEGIES if name not in named}


CHANGES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "alone": (
        "compute and record rows, but merge nothing: trust while every peer trains alone",
        {"merges": False},
    ),
    "updates": ("mix what each peer gained by its local steps, not the adapters", {"mixing": "updates"}),
    "beside": (
        "mix neighbours into a second adapter beside the own one, with a gate for each block (FedALT)",
        {"mixing": "beside"},
    ),
    "routed": ("as +beside, with a row for each block", {"mixing": "routed"}),
    "nesterov": ("Nesterov momentum over the moves of merges (DiLoCo)", {"outer": "nesterov"}),
    "noloco": ("momentum over the moves of merges (NoLoCo)", {"outer": "noloco"}),
    "distil": (
        "after each merge, steps toward what the members of its row predict on the reference set",
        {"also": "distil"},
    ),
    "distiltext": (
        "as +distil, and as much toward the text of the reference set itself",
        {"also": "distil-text"},
    ),
    "selfdistil": (
        "the control of +distil: steps toward what the peer itself predicted before the merge",
        {"also": "self-distil"},
    ),
    "reftext": (
        "the control of +distil: steps toward the text of the reference set itself",
        {"also": "reference-text"},
    ),
    "mean": ("average the factors A and B apart", {"merge": "mean"}),
    "pad": ("average A and B apart, smaller ranks filled up with zeros (HetLoRA)", {"merge": "pad"}),
    "svd": ("best adapter of this rank for the weighted sum of the products B A", {"merge": "svd"}),
    "krum": ("take the one adapter nearest to most others (Krum)", {"merge": "krum"}),
    "geometric-median": (
        "the adapter with the least sum of distances to all (RFA)",
        {"merge": "geometric-median"},
    ),
    "centred-clip": (
        "clip neighbours' differences to their median distance (ClippedGossip)",
        {"merge": "centred-clip"},
    ),
    "fltrust": (
        "weights times the cosine with one's own update, all of one's own size (FLTrust)",
        {"merge": "fltrust"},
    ),
    "median": ("the median of each number of A and of B", {"merge": "median"}),
    "trimmed": ("the mean of the middle half of each number of A and of B", {"merge": "trimmed"}),
    "frozen": (
        "FFA-LoRA: A stays at the shared start, only B is trained and sent",
        {"train": "b", "merge": "mean"},
    ),
    "share-a": (
        "FedSA-LoRA: both factors are trained, A is sent and merged, B stays with each peer",
        {"train": "share-a"},
    ),
    "alternate": (
        "RoLoRA: B is trained and merged in one round, A in the next",
        {"train": "alternate"},
    ),
    "shared": (
        "one initial A for all peers, with the learning rate for it",
        {"start": "shared", "rate": 1.0},
    ),
    "tokens": ("weights times the amount of text that each peer trained on", {"tokens": True}),
    "layers": ("train a block window each round, as [layers] says", {"layers": True}),
    "heads": (
        "LoRA on attention, each head trained by the few peers that [heads] says",
        {"train": "heads", "heads": True},
    ),
    "renorm": ("a block is averaged over the peers that trained it, as in LEFF", {"missing": "renorm"}),
    "kept": ("a block is averaged over the peers that trained it and this peer", {"missing": "kept"}),
    "self": ("weights of peers that did not train a block go to this peer's own", {"missing": "self"}),
    "rank2": ("adapters of twice the rank, with the same scale", {"ranks": 2}),
    "steps3": ("three times the local steps in a round", {"steps": 3}),
    "batch3": ("three times the windows in a batch", {"batch": 3}),
    "decay": (
        "lower the rate when a peer's trust loss stops falling; three times the rounds at most",
        {"decay": True},
    ),
    "trust": ("train on the trust split, too, so that no split is left to stop by", {"text": "trust"}),
    "public": ("train on the public text of the reference set, too", {"text": "public"}),
    "guard": ("refuse merges that raise this peer's trust loss", {"guard": True}),
    "noguard": ("take every merge", {"guard": False}),
    "rowguard": ("refuse whole rows only, without the defences of [defence]", {"defended": False}),
}
"""Name after a `+` -> what it means, and the fields of `Method` that it replaces."""

_FACTORS: Final[dict[str, Factor]] = {"s1": "weights", "s2": "validation", "s3": "predictions"}


def method_named(name: str) -> Method:
    """The method of a name. Raises `UserMistake` for an unknown one, with the nearest name and the list."""
    base, *changes = name.split("+")
    method = _product(name, base.split("*")) if "*" in base else _row(name, base)
    for change in changes:
        if change not in CHANGES:
            raise UserMistake(f"method {name}: unknown change +{change}, {suggestion(change, CHANGES)}")
        method = replace(method, **CHANGES[change][1])
    if why := _contradiction(method):
        raise UserMistake(f"method {name}: {why}")
    return method


def trust_of(method: Method, trust: TrustConfig, *, fixed: Mapping[str, float]) -> TrustConfig:
    """The scenario's trust settings with the method's strategy; `fixed` counts for the strategy "fixed" only."""
    return replace(
        trust,
        strategy=method.strategy,
        tokens_power=(trust.tokens_power or 1.0) if method.tokens else 0.0,
        form=method.form,
        product_of=method.factors or trust.product_of,
        fixed=tuple(f"{name}={weight!r}" for name, weight in fixed.items())
        if method.strategy == "fixed"
        else (),
    )


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the nearest known name, and the list."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return (f"did you mean {close[0]}? " if close else "") + f"known are {', '.join(names)}"


def _contradiction(method: Method) -> str:
    """Why the parts of a method exclude each other; empty where they do not."""
    parts, pushes = method.layers or method.heads, not MIXINGS[method.mixing].rows
    lone = method.train is not None and not TRAINS[method.train].sends_products
    unlike = method.train if lone else {"b": "frozen", "heads": "heads"}.get(method.train or "", "")
    reasons = (
        (
            bool(unlike) and method.start == "own",
            f"+{unlike} needs a shared start of A, and the method draws one for each peer",
        ),
        (method.layers and method.heads, "+layers and +heads exclude each other"),
        (lone and parts, f"+{unlike} sends a factor of all blocks, with neither +layers nor +heads"),
        (
            MIXINGS[method.mixing].beside and (parts or (method.train or "both") != "both"),
            f"+{method.mixing} keeps two whole adapters, with neither parts of them nor frozen factors",
        ),
        (
            method.outer != "none" and (pushes or MIXINGS[method.mixing].beside or not method.merging),
            f"+{method.outer} needs merges by a row that replace the adapter",
        ),
        (lone and pushes, f"+{unlike} has no whole adapter for push-sum to mix"),
        (parts and pushes, "push-sum mixes whole adapters, with neither +layers nor +heads"),
        (
            (parts or lone) and any(EVIDENCE[kind].whole_adapters for kind in method.evidence),
            "the published cosines compare whole adapters, with none of +layers, +heads, +share-a and +alternate",
        ),
        (
            method.tokens and (not STRATEGIES[method.strategy].counts_text or pushes),
            "+tokens has no row to weigh",
        ),
        (
            method.decay and (pushes or method.guard is False or not method.defended),
            "+decay needs the guard with the defences of [defence], and merges by a row, so that peers settle",
        ),
        (not method.merges and (not method.merging or pushes), "+alone has no row to record"),
        (
            bool(method.also)
            and (not method.merging or pushes or method.guard is False or not method.defended),
            "distilling needs a row, and the guard with the defences of [defence]; without merging it is +alone+distil",
        ),
        (
            bool(method.also) and (parts or lone or MIXINGS[method.mixing].beside or bool(method.reference)),
            "distilling takes steps on whole adapters that a merge replaces, toward log-probabilities",
        ),
    )
    return next((why for wrong, why in reasons if wrong), "")


def _row(name: str, base: str) -> Method:
    known = methods()
    if base not in known:
        raise UserMistake(f"method {name}: {suggestion(base, known)}; also s1*s3, and +CHANGE")
    return known[base]


def _product(name: str, factors: list[str]) -> Method:
    for factor in factors:
        if factor not in _FACTORS:
            raise UserMistake(f"method {name}: a product is of {', '.join(_FACTORS)}, got {factor!r}")
    if len(set(factors)) < len(factors):
        raise UserMistake(f"method {name}: a product is of different factors")
    return Method(
        about=f"{' and '.join(factors)} together",
        strategy="product",
        factors=tuple(_FACTORS[factor] for factor in factors),
    )
