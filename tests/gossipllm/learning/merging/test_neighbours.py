"""What a learner holds of its neighbours, and the merges that it tries."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pytest

from gossipllm.config import LayersConfig, LearnerConfig
from gossipllm.learning.merging.neighbours import Neighbours, Target
from gossipllm.learning.merging.stack import OwnAdapter
from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.model.adapter.blueprint import Blueprint
from gossipllm.model.adapter.names import State
from wire.digest import Content
from wire.errors import WireError

Shape = Callable[..., Blueprint]
Draw = Callable[..., State]
Sent = Callable[..., bytes]


def neighbours(form: Blueprint, **settings: Any) -> Neighbours:
    config = LearnerConfig(adapter=form.config, **settings)
    return Neighbours(UpdateFormat(form, config.mixing), config)


def into(
    form: Blueprint, own: State, start: State | None = None, units: Collection[int] | None = None
) -> Target:
    return Target(OwnAdapter(own, own if start is None else start, form.own if units is None else units))


def test_a_rank_that_the_factor_mean_cannot_take_is_refused_with_what_to_set(
    shape: Shape, draw: Draw, sent: Sent
) -> None:
    form, other = shape(), shape(rank=2)
    update = Content.of(sent(other, draw(other, 1)))

    with pytest.raises(WireError, match='unequal ranks need "svd" or "pad"'):
        neighbours(form, merge="mean").decoded(update)
    for rule in ("svd", "pad"):
        assert neighbours(form, merge=rule).decoded(update).offer.rank == 2


def test_a_row_that_keeps_everything_is_no_merge(shape: Shape, draw: Draw, sent: Sent) -> None:
    form = shape()
    own = draw(form, 0)

    update = Content.of(sent(form, draw(form, 1)))

    assert neighbours(form).merged((1.0, 0.0), [update], into(form, own)) is None


def test_a_merge_that_was_tried_is_not_made_again(shape: Shape, draw: Draw, sent: Sent) -> None:
    form = shape()
    own, update = draw(form, 0), Content.of(sent(form, draw(form, 1)))
    held = neighbours(form)

    first, again = (held.merged((0.5, 0.5), [update], into(form, own)) for _ in range(2))
    held.forget_merges()

    assert first is again
    assert held.merged((0.5, 0.5), [update], into(form, own)) is not first


@pytest.mark.parametrize(("missing", "own_share"), [("renorm", 0.0), ("kept", 0.5), ("self", 0.5)])
def test_the_configuration_says_where_missing_weight_goes(
    shape: Shape, draw: Draw, sent: Sent, missing: Any, own_share: float
) -> None:
    form = shape(train="full")
    own, other = draw(form, 0), draw(form, 1)
    held = neighbours(form, layers=LayersConfig(missing=missing))

    tried = held.merged((0.5, 0.5), [Content.of(sent(form, other))], into(form, own, units=()))

    assert tried is not None
    for name, values in tried.state.items():
        np.testing.assert_allclose(values, own_share * own[name] + (1 - own_share) * other[name], atol=1e-3)


@pytest.mark.parametrize("mixing", ["parameters", "updates"])
@pytest.mark.parametrize("train", ["b", "heads", "full"])
def test_a_row_over_the_moves_is_the_merge_by_that_row(
    shape: Shape, draw: Draw, train: str, mixing: Any
) -> None:
    form = shape(train=train)
    own, start, row = draw(form, 0), draw(form, 5), (0.25, 0.75)
    held = neighbours(form, mixing=mixing)
    updates = [Content.of(UpdateFormat(form, mixing).encoded(draw(form, 1), draw(form, 6), form.own))]

    origin, moves = held.moves(updates, into(form, own, start))
    tried = held.merged(row, updates, into(form, own, start))

    assert tried is not None
    for name, values in tried.state.items():
        mixed = sum(weight * move[name] for weight, move in zip(row, moves, strict=True))
        np.testing.assert_allclose(
            values, mixed if origin is None else origin[name] + mixed, atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("mixing", ["parameters", "updates"])
def test_of_what_a_neighbour_does_not_offer_its_move_is_ones_own(
    shape: Shape, draw: Draw, mixing: Any
) -> None:
    form = shape()
    own, start = draw(form, 0), draw(form, 5)
    few = form.own[:2]
    update = Content.of(UpdateFormat(form, mixing).encoded(draw(form, 1), draw(form, 6), few))

    _, (mine, theirs) = neighbours(form, mixing=mixing).moves([update], into(form, own, start))

    for name, values in theirs.items():
        assert np.array_equal(values, mine[name]) == (name not in form.tensors_of(few))


def test_moves_of_a_part_are_moves_of_the_whole_that_it_belongs_to(
    shape: Shape, draw: Draw, sent: Sent
) -> None:
    """For any whole that is affine in what is mixed, a row over the moves gives what the row's mix gives."""
    form, row = shape(), (0.25, 0.75)
    own, base = draw(form, 0), draw(form, 7)
    updates = [Content.of(sent(form, draw(form, 1)))]

    def whole(mixed: State) -> State:
        return {name: (base[name] + 0.5 * value).astype(np.float32) for name, value in mixed.items()}

    target = Target(OwnAdapter(own, own, form.own), whole)
    held = neighbours(form, merge="mean")

    origin, moves = held.moves(updates, target)
    tried = held.merged(row, updates, target)

    assert origin is not None
    assert tried is not None
    for name, values in tried.state.items():
        mixed = sum(weight * move[name] for weight, move in zip(row, moves, strict=True))
        np.testing.assert_allclose(values, origin[name] + mixed, atol=1e-5)
