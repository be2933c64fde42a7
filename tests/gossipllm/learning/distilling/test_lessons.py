"""Who teaches: token rows and byte rows, changes of a base, and the reference text as a control."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gossipllm.config import LearnerConfig, ReferenceConfig, TrainingConfig
from gossipllm.learning.jobs.jobs import PredictBytesJob
from gossipllm.learning.jobs.next_bytes import placed
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import answer
from gossipllm.work import Lesson, Merge, Merged, Open, Train, Trained, Work
from support.progress import silent
from trust.record.history import Distilled
from wire.digest import Content
from wire.predictions.byte_rows import encode_byte_rows

Config = Callable[..., LearnerConfig]
STEPS = 12


def ask(learner: Learner, request: Work) -> Any:
    return answer(learner, request, silent)[1]


def opened(config: Config, *, rate: float = 1e-3, seed: int = 0, **changes: Any) -> Learner:
    made = config(
        training=TrainingConfig(batch_windows=4, learning_rate=rate, warmup_steps=0, seed=seed),
        reference=ReferenceConfig(source=config().reference.source, windows=8, window_bytes=32, top=16),
        also="distil",
        distil_share=1.0,
    )
    made = replace(made, **changes)
    learner, _ = answer(None, Open(request=1, config=made, snapshot=None), silent)
    assert learner is not None
    return learner


def trained(learner: Learner, steps: int = STEPS) -> Trained:
    return ask(learner, Train(request=2, round=1, steps=steps))


def taught(learner: Learner, *lessons: Lesson) -> Distilled | None:
    reply = ask(learner, Merge(request=3, row=(1.0,), updates=(), lessons=lessons, local_steps=STEPS))
    assert isinstance(reply, Merged)
    return reply.distilled


def in_bytes(learner: Learner) -> Content:
    """Byte rows as a peer with another tokenizer sends them."""
    reference = learner.shared.reference
    ours = reference.in_bytes
    assert ours is not None
    job = PredictBytesJob(learner.state, reference.windows_WT, ours.symbols_V, ours.positions.shape.top)
    (made,) = learner.fleet.perform([job])
    return Content.of(encode_byte_rows(placed(made, ours.positions), ours.positions.shape))


@pytest.fixture(scope="module")
def teacher(config: Config) -> tuple[Learner, Trained]:
    """A neighbour of the same text that has learned far more."""
    learner = opened(config, rate=1e-2, seed=1)
    return learner, trained(learner, 60)


def test_byte_rows_of_another_tokenizer_lower_the_trust_loss(
    config: Config, teacher: tuple[Learner, Trained]
) -> None:
    learner = opened(config)
    trained(learner)
    done = taught(learner, Lesson(weight=0.5, update=None, evidence=in_bytes(teacher[0]), in_bytes=True))
    assert done is not None
    assert 0 < done.taught <= done.rows
    assert done.kl_after < done.kl_before
    assert done.gain > done.error
    assert done.share > 0


@pytest.mark.parametrize("as_bytes", [False, True])
def test_the_changes_of_a_foreign_base_are_another_target_than_its_predictions(
    config: Config, teacher: tuple[Learner, Trained], as_bytes: bool
) -> None:
    """The foreign base is one that has learned something else."""
    other, told = teacher
    foreign = opened(config, rate=1e-2, seed=2)
    evidence, base = told.evidence, trained(foreign, 6).evidence
    if as_bytes:
        evidence, base = in_bytes(other), in_bytes(foreign)
    lesson = Lesson(weight=0.5, update=None, evidence=evidence, in_bytes=as_bytes, base=base)
    asked: list[float] = []
    for toward in ("predictions", "changes"):
        learner = opened(config, distil_toward=toward)
        trained(learner)
        done = taught(learner, lesson)
        assert done is not None
        assert done.taught > 0
        asked.append(done.kl_before)
    assert asked[0] != pytest.approx(asked[1], rel=1e-2)


@pytest.mark.parametrize("bad", [b"", b"\xff" * 40])
def test_bytes_that_are_no_byte_rows_teach_nothing(config: Config, bad: bytes) -> None:
    learner = opened(config, distil_toward="changes")
    trained(learner)
    good = in_bytes(learner)
    for evidence, base in ((Content.of(bad), None), (good, Content.of(bad))):
        lesson = Lesson(weight=0.5, update=None, evidence=evidence, in_bytes=True, base=base)
        assert taught(learner, lesson) is None


def test_the_control_learns_the_reference_text_itself_without_any_neighbour(config: Config) -> None:
    learner = opened(config, also="reference-text")
    trained(learner)
    done = taught(learner)
    assert done is not None
    assert done.taught == done.rows
    assert done.kl_after < done.kl_before


def test_the_reference_text_teaches_beside_a_neighbour_and_on_every_row(config: Config) -> None:
    alone, both = opened(config), opened(config, also="distil-text")
    done: list[Distilled] = []
    for learner in (alone, both):
        trained(learner)
        found = taught(learner, Lesson(weight=0.5, update=None, evidence=in_bytes(learner), in_bytes=True))
        assert found is not None
        done.append(found)
    assert done[0].taught < done[0].rows
    assert done[1].taught == done[1].rows
    assert done[1].kl_after < done[1].kl_before


def test_where_no_neighbour_teaches_the_reference_text_does(config: Config) -> None:
    found: list[Distilled | None] = []
    for also in ("distil-text", "reference-text", "distil"):
        learner = opened(config, also=also)
        trained(learner)
        done = taught(learner)
        found.append(done and msgspec.structs.replace(done, seconds=0.0))
    assert found[0] == found[1]
    assert found[2] is None
