"""Distilling after a merge: who teaches, what it costs, and that it is undone where it does not help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gossipllm.config import (
    AdapterConfig,
    HeadsConfig,
    LayersConfig,
    LearnerConfig,
    ReferenceConfig,
    TrainingConfig,
)
from gossipllm.config.choices import Also
from gossipllm.learning.distilling.distilling import Budget
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import answer
from gossipllm.learning.measuring.own_text import OwnText
from gossipllm.learning.measuring.parts_of_way import SHARES
from gossipllm.model.adapter.snapshots import decode_snapshot
from gossipllm.text.windows import bearing
from gossipllm.work import Lesson, Merge, Merged, Open, Train, Trained, Work
from support.progress import silent
from wire.digest import Content
from wire.predictions.logits import SparseRows, decode_rows, encode_rows
from wire.updates.units import encode_offered

Config = Callable[..., LearnerConfig]
STEPS = 8


def ask(learner: Learner, request: Work) -> Any:
    return answer(learner, request, silent)[1]


def opened(config: LearnerConfig) -> Learner:
    learner, _ = answer(None, Open(request=1, config=config, snapshot=None), silent)
    assert learner is not None
    return learner


def settings(config: Config, also: Also = "distil", *, seed: int = 0, rate: float = 1e-3) -> LearnerConfig:
    return config(
        training=TrainingConfig(batch_windows=4, learning_rate=rate, warmup_steps=0, seed=seed),
        reference=ReferenceConfig(source=config().reference.source, windows=8, window_bytes=32, top=16),
        also=also,
        distil_share=1.0,
    )


def trained(learner: Learner, steps: int = STEPS) -> Trained:
    return ask(learner, Train(request=2, round=1, steps=steps))


@pytest.fixture(scope="module")
def teacher(config: Config) -> Trained:
    """A neighbour of the same text that has learned far more."""
    return trained(opened(settings(config, "", seed=1, rate=1e-2)), 60)


def lesson(teacher: Trained, evidence: Content | None = None, update: Content | None = None) -> Lesson:
    return Lesson(weight=0.5, update=update or teacher.update, evidence=evidence or teacher.evidence)


def taught(learner: Learner, *lessons: Lesson, steps: int = STEPS) -> Merged:
    reply = ask(learner, Merge(request=3, row=(1.0,), updates=(), lessons=lessons, local_steps=steps))
    assert isinstance(reply, Merged)
    return reply


def student(config: Config, **changes: Any) -> Learner:
    learner = opened(replace(settings(config), **changes))
    trained(learner)
    return learner


def test_what_a_better_neighbour_predicts_lowers_the_divergence_and_the_trust_loss(
    config: Config, teacher: Trained
) -> None:
    learner = opened(settings(config))
    before = trained(learner)
    reply = taught(learner, lesson(teacher))
    done = reply.distilled
    assert done is not None
    assert 0 < done.taught <= done.rows
    assert done.kl_after < done.kl_before
    assert done.share in SHARES
    assert done.gain > done.error
    assert reply.trust_loss == pytest.approx(before.trust_loss - done.gain, abs=1e-5)


def test_distilling_keeps_the_moments_and_the_round_of_local_steps(config: Config, teacher: Trained) -> None:
    learner = student(config)
    before = decode_snapshot(learner.snapshot().data)
    after = decode_snapshot(taught(learner, lesson(teacher)).snapshot.data)
    assert after.header == before.header
    assert all(np.array_equal(after.first[name], before.first[name]) for name in before.first)
    assert not all(np.array_equal(after.adapter[name], before.adapter[name]) for name in before.adapter)


def forged(learner: Learner, teacher: Trained) -> Content:
    """Predictions that are sure of the true next token and give the rest to the least likely ones of the teacher."""
    reference = learner.shared.reference
    rows = decode_rows(teacher.evidence.data, reference.shape)
    true_R = reference.windows_WT[:, 1:][bearing(reference.windows_WT)]
    junk_R = (true_R.astype(np.int64) + 7) % reference.shape.vocabulary
    ids_RK = rows.ids_RK.astype(np.int64).copy()
    logp_RK = np.full(ids_RK.shape, -10_000.0, np.float32)
    for row, (true, junk) in enumerate(zip(true_R, junk_R, strict=True)):
        others = [one for one in range(ids_RK.shape[1] + 2) if one not in (true, junk)]
        ids = sorted([int(true), int(junk), *others[: ids_RK.shape[1] - 2]])
        ids_RK[row] = ids
        logp_RK[row, ids.index(int(true))] = np.log(0.3)
        logp_RK[row, ids.index(int(junk))] = np.log(0.7)
    sparse = SparseRows(ids_RK.astype(np.uint32), logp_RK, np.zeros(len(ids_RK), np.float32))
    return Content.of(encode_rows(sparse, reference.shape))


def test_forged_predictions_are_undone(config: Config, teacher: Trained) -> None:
    """They pass the gate on every row, and nobody held them against the update."""
    learner = opened(settings(config, rate=0.1))
    before = trained(learner)
    state = {name: value.copy() for name, value in learner.state.items()}
    reply = taught(learner, lesson(teacher, forged(learner, teacher)))
    assert reply.distilled is not None
    assert reply.distilled.taught > reply.distilled.rows / 2
    assert reply.distilled.share == 0
    assert reply.trust_loss == pytest.approx(before.trust_loss, abs=1e-6)
    assert all(np.array_equal(learner.state[name], state[name]) for name in state)


@pytest.mark.parametrize(("public", "spared"), [(0.0, False), (0.5, True)])
def test_steps_that_cost_the_own_text_too_much_are_undone_where_public_text_decides_too(
    config: Config, teacher: Trained, monkeypatch: pytest.MonkeyPatch, public: float, spared: bool
) -> None:
    """Here whatever is taken costs the own text too much, where there is public text that it could be lost to."""

    def spares(bound: OwnText, *_: object) -> bool:
        return not bound.bounds

    monkeypatch.setattr(OwnText, "spares", spares)
    data = replace(config().data, trust_public=public)
    done = taught(student(config, data=data), lesson(teacher)).distilled
    assert done is not None
    assert (done.share == 0) == spared


def test_public_text_is_a_part_of_what_decides(config: Config, teacher: Trained) -> None:
    learner = student(config, data=replace(config().data, trust_public=0.5))
    done = taught(learner, lesson(teacher)).distilled
    assert done is not None
    assert done.share > 0


@pytest.mark.parametrize("bad", [b"", b"\xff" * 40])
def test_bytes_that_are_no_predictions_teach_nothing(config: Config, teacher: Trained, bad: bytes) -> None:
    learner = student(config)
    assert taught(learner, lesson(teacher, Content.of(bad))).distilled is None
    assert taught(learner, lesson(teacher, update=Content.of(bad))).distilled is None


def test_a_part_of_an_adapter_teaches_nothing(config: Config, teacher: Trained) -> None:
    """Predictions cannot be held against an update whose author's adapter is not known whole."""
    learner = student(config)
    schema = learner._memory.updates.schema
    offer = schema.offer([0], 4)
    part = Content.of(encode_offered(learner.state, schema, offer))
    assert taught(learner, lesson(teacher, update=part)).distilled is None


def test_a_round_without_local_steps_pays_for_no_distilling(config: Config, teacher: Trained) -> None:
    assert taught(student(config), lesson(teacher), steps=0).distilled is None


def test_the_control_learns_from_its_own_predictions_of_before_the_merge(
    config: Config, teacher: Trained
) -> None:
    learner = opened(settings(config, "self-distil"))
    trained(learner)
    alone = Merge(request=3, row=(1.0,), updates=(), local_steps=STEPS)
    assert ask(learner, alone).distilled is None
    merge = Merge(request=4, row=(0.9, 0.1), updates=(teacher.update,), local_steps=STEPS)
    assert ask(learner, merge).distilled is not None


@pytest.mark.parametrize("passes", [3, 4])
def test_all_of_it_costs_at_most_the_share(passes: int) -> None:
    for share in (0.1, 0.25, 1.0):
        for local in (2_000, 20_000, 200_000):
            for shape in ((20, 24), (200, 64)):
                budget = Budget.of(
                    share,
                    local_tokens=local,
                    batch_tokens=1_000,
                    trust_tokens=300,
                    shape=shape,
                    passes=passes,
                )
                read = budget.windows * shape[1]
                cost = passes * budget.steps * read + (read + len(SHARES) * 300 if budget.steps else 0)
                assert cost <= share * 3 * local
                assert read <= 1_000
    assert Budget.of(
        0.25, local_tokens=20_480, batch_tokens=1_024, trust_tokens=2_048, shape=(20, 24)
    ) == Budget(steps=6, windows=20)


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({"mixing": "push-sum"}, "merge.mixing"),
        ({"mixing": "beside"}, "merge.mixing"),
        ({"layers": LayersConfig(count=1)}, "layers.count = 0"),
        ({"adapter": AdapterConfig(train="heads"), "heads": HeadsConfig(copies=1)}, "heads.copies = 0"),
        ({"adapter": AdapterConfig(train="share-a")}, "adapter.train"),
        ({"reference": ReferenceConfig(positions="last")}, "reference.positions"),
    ],
)
def test_what_distilling_cannot_go_with_is_refused_by_name(changes: dict[str, Any], needed: str) -> None:
    with pytest.raises(ValueError, match=f'merge.also = "distil" .*{needed}'):
        LearnerConfig(also="distil", **changes)


@pytest.mark.parametrize("share", [0.0, 1.1])
def test_the_share_of_the_cost_has_bounds(share: float) -> None:
    with pytest.raises(ValueError, match="distil_share must be in"):
        LearnerConfig(distil_share=share)
