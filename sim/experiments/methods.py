"""Methods: one table of names, each with what it changes of a scenario's configuration, and nothing else.

    NAME          a row of the table
    A*B           both kinds of evidence together (of s1, s2 and s3)
    NAME+CHANGE   one difference from NAME; several may follow each other

What is trained in parts, and how much text counts, is said by the scenario's tables [layers], [heads] and [trust];
a method takes no notice of them unless its name says so: `fedavg+layers` trains windows of blocks, `fedavg` all.

Methods that weigh no predictions set the reference set to its minimum, one window of two tokens, so that they
do not pay for evidence that nobody reads: what a method costs is what *it* needs.

`s1`, `s2`, `s3` are the three strategies of Wagner, Fan and Jaggi (2024, arXiv 2404.09753) in our form. `-text` is
what their paper says, `-code` what their released code does; both without a guard, with the factors averaged
apart. Their text mixes updates, their code adapters, and both are given here with adapters, so that a form
differs from another in its evidence only: `s2-text+updates` is the text to the letter.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from gossipllm.config import AdapterConfig, HeadsConfig, LayersConfig, ReferenceConfig
from gossipllm.config.choices import MIXINGS, MergeRule, Missing, Mixing, Start, Train
from peers.core.config import RoundConfig
from trust.errors import UserMistake
from trust.rows.config import Factor, Form, Strategy, TrustConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What differs from the scenario. None leaves the scenario's own; `reference` names fields to replace."""

    about: str
    strategy: Strategy
    factors: tuple[Factor, ...] = ()
    """Of a product, what is multiplied."""
    form: Form = "ours"
    guard: bool | None = None
    merge: MergeRule | None = None
    mixing: Mixing = "parameters"
    start: Start | None = None
    train: Train | None = None
    tokens: bool = False
    """Whether weights are multiplied by how much text peers have: by the scenario's power, or 1 where that is 0."""
    layers: bool = False
    """Whether windows of blocks are trained, as [layers] says, and not all of them."""
    heads: bool = False
    """Whether attention heads are dealt out, as [heads] says, and not trained by everybody."""
    missing: Missing | None = None
    rate: float = 1.0
    """What the scenario's learning rate is multiplied by."""
    reference: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def predicts(self) -> bool:
        return "predictions" in (self.strategy, *self.factors)


def _text(strategy: Factor, about: str) -> Method:
    published = _PUBLISHED_ROWS if strategy == "predictions" else {}
    return Method(
        about=about, strategy=strategy, form="paper-text", guard=False, merge="mean", reference=published
    )


def _code(strategy: Factor, about: str) -> Method:
    return replace(_text(strategy, about), form="paper-code", start="own", rate=_OWN_START_RATE)


_OWN_START_RATE: Final = 1 / 8
"""An A drawn within 1/sqrt(rank) rather than 1/sqrt(width) is several times larger, and so is every step of B.
Tuned for training alone from such a start, on the benchmark of table 4; with the rate of a shared start it
leaves the base's perplexity far behind it, upwards (sim/FINDINGS.md)."""


_PUBLISHED_ROWS: Final[dict[str, Any]] = {"windows": 200, "positions": "last", "top": 100}
"""Wagner et al. (2024), released code: 200 windows, of each the 100 largest logits at its last position."""


METHODS: Final[dict[str, Method]] = {
    "local": Method(about="everybody trains alone", strategy="local"),
    "fedavg": Method(about="plain averaging over all peers", strategy="uniform", guard=False, merge="mean"),
    "tokens": Method(
        about="averaging weighted by how much text each trained on",
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
    "s1": Method(about="nearness of the effective updates (cosine of B A)", strategy="weights"),
    "s2": Method(about="loss of the neighbour's adapter on the own trust split", strategy="validation"),
    "s3": Method(about="nearness of the predictions on the reference set", strategy="predictions"),
    "learned": Method(about="the row that lowers the own trust loss, by its gradient", strategy="learned"),
    "fomo": Method(
        about="FedFomo: gain of loss for distance gone, neighbours that help only",
        strategy="fomo",
        guard=False,
    ),
    "s1-text": _text("weights", "softmax of the cosine of all factors as one vector"),
    "s2-text": _text("validation", "softmax of minus the cross-entropy on the own trust split"),
    "s3-text": _text("predictions", "softmax of minus the L1 distance of raw logits, 200 positions, top 100"),
    "local-code": Method(
        about="everybody trains alone from a start of A of its own",
        strategy="local",
        guard=False,
        merge="mean",
        start="own",
        rate=_OWN_START_RATE,
    ),
    "s1-code": _code("weights", "softmax of the mean cosine of rows; every peer its own start of A"),
    "s2-code": _code("validation", "softmax of minus the perplexity on windows drawn anew"),
    "s3-code": _code("predictions", "the same, distances made to sum to ten; every peer its own start of A"),
}
"""Name -> method. `product` has no name of its own: it is written `s1*s3`."""

CHANGES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "updates": ("mix what each gained by its local steps, not the adapters", {"mixing": "updates"}),
    "mean": ("average the factors A and B apart", {"merge": "mean"}),
    "pad": ("average A and B apart, smaller ranks filled up with zeros (HetLoRA)", {"merge": "pad"}),
    "svd": ("best adapter of this rank for the weighted sum of the products B A", {"merge": "svd"}),
    "frozen": (
        "FFA-LoRA: A stays at the shared start, only B is trained and sent",
        {"train": "b", "merge": "mean"},
    ),
    "shared": ("one start of A for everybody, with the rate for it", {"start": "shared", "rate": 1.0}),
    "tokens": ("weights times how much text each trained on", {"tokens": True}),
    "layers": ("train a window of blocks each round, as [layers] says", {"layers": True}),
    "heads": (
        "LoRA on attention, heads dealt out as [heads] says",
        {"train": "heads", "heads": True},
    ),
    "renorm": ("only those who trained a block count for it, as in LEFF", {"missing": "renorm"}),
    "kept": ("one's own block counts besides those who trained it", {"missing": "kept"}),
    "self": ("of what neighbours did not train, their weights go to one's own", {"missing": "self"}),
    "guard": ("refuse merges that raise the own trust loss", {"guard": True}),
    "noguard": ("take every merge", {"guard": False}),
}
"""What may follow a name behind a `+` -> what it says, and the fields that it changes."""

MOST_PARTNERS: Final = 256
"""The most that a peer merges with (`RoundConfig.most_partners`)."""

_UNREAD: Final[dict[str, Any]] = {"windows": 1, "window_tokens": 2, "top": 1, "positions": "all"}
_FACTORS: Final[dict[str, Factor]] = {"s1": "weights", "s2": "validation", "s3": "predictions"}


def method_named(name: str) -> Method:
    """Raises `UserMistake` for what is no method, with the nearest name and the list."""
    base, *changes = name.split("+")
    method = _product(name, base.split("*")) if "*" in base else _row(name, base)
    for change in changes:
        if change not in CHANGES:
            raise UserMistake(f"method {name}: unknown change +{change}, {suggestion(change, CHANGES)}")
        method = replace(method, **CHANGES[change][1])
    if why := _contradiction(method):
        raise UserMistake(f"method {name}: {why}")
    return method


def reference_of(method: Method, reference: ReferenceConfig) -> ReferenceConfig:
    """The reference set that the method pays for."""
    changes = {"positions": "all", **method.reference} if method.predicts else _UNREAD
    return replace(reference, **changes)


def trust_of(method: Method, trust: TrustConfig, *, fixed: Mapping[str, float]) -> TrustConfig:
    """The scenario's trust with the method's strategy; `fixed` is used where the rows are given."""
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


def round_of(method: Method, config: RoundConfig, *, peers: int) -> RoundConfig:
    """The scenario's rounds with the method's guard; rows that are given for everybody take everybody in."""
    guard = config.guard if method.guard is None else method.guard
    if method.strategy not in ("uniform", "fixed"):
        return replace(config, guard=guard)
    most = max(config.most_partners, min(peers - 1, MOST_PARTNERS))
    return replace(config, guard=guard, most_partners=most)


def adapter_of(method: Method, adapter: AdapterConfig) -> AdapterConfig:
    """The adapter with what the method says of its start and of what is trained of it."""
    return replace(adapter, start=method.start or adapter.start, train=method.train or adapter.train)


def layers_of(method: Method, layers: LayersConfig) -> LayersConfig:
    """The scenario's windows of blocks, or none where the method trains all."""
    missing = method.missing or layers.missing
    return replace(layers, missing=missing) if method.layers else LayersConfig(missing=missing)


def heads_of(method: Method, heads: HeadsConfig) -> HeadsConfig:
    """The scenario's share of heads, or all."""
    return heads if method.heads else HeadsConfig()


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of a complaint about a name: the nearest one, and all there are."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return (f"did you mean {close[0]}? " if close else "") + f"known are {', '.join(names)}"


def _contradiction(method: Method) -> str:
    """What in a method does not go together, if anything."""
    parts = method.layers or method.heads
    if method.train in ("b", "heads") and method.start == "own":
        change = {"b": "frozen", "heads": "heads"}[method.train]
        return f"+{change} needs a shared start of A, which the method has not"
    if method.layers and method.heads:
        return "+layers and +heads exclude each other"
    if parts and not MIXINGS[method.mixing].rows:
        return "push-sum mixes whole adapters, with neither +layers nor +heads"
    if parts and method.form != "ours" and method.strategy == "weights":
        return "the published cosines compare whole adapters, with neither +layers nor +heads"
    if method.tokens and (method.strategy in ("local", "fixed") or not MIXINGS[method.mixing].rows):
        return "+tokens has no row to weigh"
    return ""


def _row(name: str, base: str) -> Method:
    if base not in METHODS:
        raise UserMistake(f"method {name}: {suggestion(base, METHODS)}; also s1*s3, and +CHANGE")
    return METHODS[base]


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
