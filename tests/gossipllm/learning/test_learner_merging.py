"""One learner and its neighbour: distances, what is declined, and merges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

from gossipllm.config import LearnerConfig
from gossipllm.model.adapter.snapshots import decode_snapshot
from gossipllm.work import (
    Declined,
    Evaluate,
    Evaluated,
    Failed,
    Merge,
    Merged,
    Trained,
    Weigh,
    Weighed,
)
from support.learners import ask, opened, train
from wire.digest import Content

Config = Callable[..., LearnerConfig]


def filled(update: Content, pair: bytes) -> Content:
    """An update of the same offer, every number of which is this bfloat16."""
    head = 4 + int.from_bytes(update.data[2:4], "little")
    return Content.of(update.data[:head] + pair * ((update.size - head) // 2))


@pytest.mark.parametrize("evidence", ["predictions", "weights", "validation"])
def test_a_peer_is_at_no_distance_from_itself(config: Config, evidence: Any) -> None:
    learner = opened(config(evidence=(evidence,)))
    mine = train(learner, 1)

    weighed: Weighed = ask(learner, Weigh(request=3, author="me", update=mine.update, evidence=mine.evidence))

    # Updates travel as bfloat16, so that the weights return rounded: 2^-9 of each, squared in the cosine.
    assert weighed.distances == pytest.approx((0,), abs=1e-5)


@pytest.mark.parametrize("evidence", ["predictions", "weights"])
def test_a_peer_that_learnt_otherwise_is_at_a_distance(
    config: Config, neighbour: Trained, evidence: Any
) -> None:
    learner = opened(config(evidence=(evidence,)))
    train(learner, 1)

    weighed: Weighed = ask(
        learner, Weigh(request=3, author="x", update=neighbour.update, evidence=neighbour.evidence)
    )

    assert weighed.distances[0] > 1e-3


@pytest.mark.parametrize("evidence", ["weights", "validation", "distance"])
def test_what_compares_no_predictions_measures_the_same_without_them(
    config: Config, neighbour: Trained, evidence: Any
) -> None:
    learner = opened(config(evidence=(evidence,)))
    train(learner, 1)
    update = neighbour.update

    with_them, without = (
        ask(learner, Weigh(request=3, author="x", update=update, evidence=blob))
        for blob in (neighbour.evidence, None)
    )

    assert with_them == without


@pytest.mark.parametrize(
    ("evidence", "update", "blob", "field"),
    [
        ("predictions", None, b"few", "evidence.length"),
        ("predictions", None, "ids", "evidence.ids"),
        ("predictions", b"short", None, "update.length"),
        ("weights", "nan", None, "update.model.layers.0.mlp.down_proj.lora_A"),
        ("validation", "huge", None, "update"),
        ("none", b"", None, "update.length"),
    ],
)
def test_what_a_neighbour_broke_is_declined(
    config: Config,
    neighbour: Trained,
    evidence: Any,
    update: bytes | str | None,
    blob: bytes | Literal["ids"] | None,
    field: str,
) -> None:
    learner = opened(config(evidence=() if evidence == "none" else (evidence,)))
    # bfloat16, little-endian: a NaN, and 3e38, whose products overflow.
    made = {
        None: neighbour.update,
        "nan": filled(neighbour.update, b"\xc0\x7f"),
        "huge": filled(neighbour.update, b"\x7f\x7f"),
    }
    data = update if isinstance(update, bytes) else made[update].data
    sent = b"\xff" * neighbour.evidence.size if blob == "ids" else blob or neighbour.evidence.data
    before = learner.snapshot()

    declined: Declined = ask(
        learner,
        Weigh(
            request=3,
            author="x",
            update=Content.of(data),
            evidence=Content.of(sent),
        ),
    )

    assert isinstance(declined, Declined), declined
    assert declined.field == field
    assert learner.snapshot() == before


def test_evaluating_changes_nothing_and_merging_keeps_its_word(config: Config, neighbour: Trained) -> None:
    learner = opened(config())
    own = train(learner, 1)

    tried: Evaluated = ask(
        learner, Evaluate(request=3, rows=((1.0, 0.0), (0.5, 0.5), (0.0, 1.0)), updates=(neighbour.update,))
    )
    assert learner.snapshot() == own.snapshot
    merged: Merged = ask(learner, Merge(request=4, row=(0.5, 0.5), updates=(neighbour.update,)))

    assert tried.losses[0] == pytest.approx(own.trust_loss, abs=1e-9)
    assert tried.errors[0] == 0
    assert tried.errors[1] > 0
    assert merged.trust_loss == pytest.approx(tried.losses[1], abs=1e-9)
    assert merged.test_merged != merged.test_alone


def test_merging_nothing_changes_nothing(config: Config) -> None:
    learner = opened(config())
    before = train(learner, 1).snapshot

    merged: Merged = ask(learner, Merge(request=3, row=(1.0,), updates=()))

    assert merged.snapshot == before
    assert merged.discarded == 0


def test_a_merge_whose_loss_is_no_number_is_refused(config: Config, neighbour: Trained) -> None:
    learner = opened(config(clip=0.0))
    before = train(learner, 1).snapshot
    huge = filled(neighbour.update, b"\x7f\x7f")

    tried: Evaluated = ask(learner, Evaluate(request=3, rows=((0.5, 0.5),), updates=(huge,)))
    refused: Failed = ask(learner, Merge(request=4, row=(0.5, 0.5), updates=(huge,)))

    assert not np.isfinite(tried.losses[0])
    assert isinstance(refused, Failed)
    assert not refused.users_fault
    assert learner.snapshot() == before


def test_moments_live_through_a_merge(config: Config, neighbour: Trained) -> None:
    learner = opened(config())
    before = decode_snapshot(train(learner, 1).snapshot.data)

    merged: Merged = ask(learner, Merge(request=3, row=(0.5, 0.5), updates=(neighbour.update,)))

    after = decode_snapshot(merged.snapshot.data)
    assert after.header.steps == before.header.steps == 5
    assert all(np.array_equal(after.second[name], values) for name, values in before.second.items())
