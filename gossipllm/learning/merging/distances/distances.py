"""A neighbour's distance, by each kind of evidence (`trust.rows.config.Evidence`).

Adapters may differ in rank and hold different units. "weights" and "distance" compare the units that both have.
For losses, the neighbour's units replace this peer's own. The published forms compare whole adapters and
refuse any difference. Means of losses weight windows as training does, except for "perplexity", which weights
all equally, as published.

Axes: W windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gossipllm.config import Evidence
from gossipllm.learning.jobs.batches import drawn
from gossipllm.learning.jobs.jobs import Task, losses_of
from gossipllm.learning.merging.averages import F64, mean_loss, standard_error
from gossipllm.learning.merging.products.factors import factors_of
from gossipllm.learning.merging.products.inner_products import OfferedPieces, inner_products
from gossipllm.learning.merging.stack import completed
from gossipllm.learning.merging.updates import Update
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from gossipllm.text.windows import Windows
from trust.rows.baselines.fomo import progress_distance
from trust.rows.baselines.published import (
    logit_distance,
    parameter_distance,
    perplexity_distance,
    row_cosine_distance,
)
from trust.rows.baselines.robust import relative_distance
from trust.rows.evidence import (
    Distance,
    Predictions,
    prediction_distance,
    validation_distance,
    weight_distance,
)
from wire.errors import WireError
from wire.floats import F32
from wire.predictions.logits import LogitRows, SparseRows

Blob: TypeAlias = SparseRows | LogitRows


@dataclass(frozen=True, slots=True, eq=False)
class OwnEvidence:
    """This peer's side of a comparison. `state` and `start` are what it publishes. `alone` makes of a published adapter
    one that can be measured by itself. `trust_WT` are the windows to weigh neighbours on, `trust_losses_W` the losses
    of its own adapter on them, `weights_W` how much each counts in a mean (`averages.weights_of`)."""

    blueprint: Blueprint
    state: State
    start: State
    blob: Blob
    trust_WT: Windows
    trust_losses_W: F32
    weights_W: F64 | None
    start_loss: float | None
    """Mean trust loss of `start`, where "progress" is measured."""
    draw: tuple[str | int, ...]
    """Seed and round: with the neighbour's name they determine which windows "perplexity" draws."""
    draws: int
    """The number of windows that "perplexity" draws."""
    alone: Callable[[State], State]


def measured(
    kind: Evidence, mine: OwnEvidence, author: str, theirs: Update | None, blob: Blob | None
) -> Task[Distance]:
    """`blob` is None where no kind that is measured compares predictions, `theirs` where the neighbour holds another
    base: then all kinds do. Raises `WireError` where what the neighbour sent cannot be measured."""
    if kind == "predictions":
        return prediction_distance(_rows(mine.blob), _rows(blob))
    if kind == "logits":
        return logit_distance(_logits(mine.blob), _logits(blob))
    assert theirs is not None, "an update of another base is not measured"
    match kind:
        case "distance":
            return _apart(mine, theirs)
        case "weights" | "parameters" | "row-cosines":
            return _by_factors(kind, mine, theirs)
        case "validation" | "progress" | "perplexity":
            state = completed(theirs, mine.state, mine.blueprint)
            return (yield from _by_losses(kind, mine, author, state))


def _apart(mine: OwnEvidence, theirs: Update) -> Distance:
    blueprint = mine.blueprint
    _common(blueprint, theirs)
    adapters = [
        OfferedPieces(blueprint.rank, blueprint.own, blueprint.pieces(mine.state, blueprint.own)),
        OfferedPieces(theirs.offer.rank, theirs.units, theirs.state),
    ]
    return relative_distance(*inner_products(blueprint, adapters).between(0, 1))


def _common(blueprint: Blueprint, theirs: Update) -> list[int]:
    """The units that both have."""
    common = [unit for unit in blueprint.own if unit in set(theirs.units)]
    if not common:
        raise WireError("offer.units", "holds nothing of what this peer's adapter has")
    return common


def _by_factors(kind: Evidence, mine: OwnEvidence, theirs: Update) -> Distance:
    blueprint = mine.blueprint
    if kind == "weights":
        common = _common(blueprint, theirs)
        pieces = blueprint.pieces(mine.state, common)
        return weight_distance(
            factors_of(blueprint, pieces, common, blueprint.rank),
            factors_of(blueprint, theirs.state, common, theirs.offer.rank),
        )
    if theirs.units != blueprint.own or theirs.offer.rank != blueprint.rank:
        raise WireError(
            "offer",
            f'"{kind}" compares whole adapters of one rank and one set of modules; "weights" compares any',
        )
    state = completed(theirs, mine.state, blueprint)
    return (parameter_distance if kind == "parameters" else row_cosine_distance)(
        _matrices(mine.state), _matrices(state)
    )


def _by_losses(kind: Evidence, mine: OwnEvidence, author: str, theirs: State) -> Task[Distance]:
    whole = mine.alone(theirs)
    if kind == "perplexity":
        # As published: every pair draws its own windows, and the two models of a pair draw separately.
        own, other = (drawn(len(mine.trust_WT), mine.draws, (*mine.draw, who)) for who in ("own", author))
        (theirs_W,) = yield from losses_of((whole,), mine.trust_WT[other], "trust")
        return perplexity_distance(mine.trust_losses_W[own], _finite(theirs_W))
    (theirs_W,) = yield from losses_of((whole,), mine.trust_WT, "trust")
    if kind == "progress":
        return progress(mine, theirs, _finite(theirs_W))
    return _validation(mine, _finite(theirs_W))


def _validation(mine: OwnEvidence, theirs_W: F32) -> Distance:
    if mine.weights_W is None:
        return validation_distance(mine.trust_losses_W, theirs_W)
    differences_W = theirs_W - mine.trust_losses_W
    return Distance(mean_loss(differences_W, mine.weights_W), standard_error(differences_W, mine.weights_W))


def progress(mine: OwnEvidence, state: State, losses_W: F32) -> Distance:
    """FedFomo's measure of an adapter with these trust losses."""
    assert mine.start_loss is not None, "progress is measured from the start"
    # In float64: squares of finite float32 numbers need not be finite in float32.
    square = sum(float(np.sum((state[name].astype(np.float64) - mine.start[name]) ** 2)) for name in state)
    return progress_distance(mine.start_loss, mean_loss(losses_W, mine.weights_W), square**0.5)


def own_measures(kinds: Sequence[Evidence], mine: OwnEvidence) -> tuple[float, ...]:
    """The same measures of this peer's own adapter, which row arithmetic compares neighbours with."""
    return tuple(
        progress(mine, mine.state, mine.trust_losses_W).mean if kind == "progress" else 0.0 for kind in kinds
    )


def _matrices(state: State) -> State:
    """The state with each vector as a matrix of one row, because the published forms are of matrices."""
    return {name: np.atleast_2d(value) for name, value in state.items()}


def _finite(losses_W: F32) -> F32:
    if not np.all(np.isfinite(losses_W)):
        raise WireError("update", "its loss on this peer's text is not finite")
    return losses_W


def _rows(blob: Blob | None) -> Predictions:
    assert isinstance(blob, SparseRows), "the reference set is of log-probabilities"
    return blob


def _logits(blob: Blob | None) -> LogitRows:
    assert isinstance(blob, LogitRows), "the reference set is of raw logits"
    return blob
