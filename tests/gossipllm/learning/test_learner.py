"""One learner, request by request, on tiny models: local steps, and going on after a stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gossipllm.config import AdapterConfig, DataConfig, LearnerConfig, ModelConfig, TrainingConfig
from gossipllm.learning.learner_pool import answer
from gossipllm.text.reference import demo_share
from gossipllm.text.windows import targets
from gossipllm.work import (
    Merge,
    Merged,
    Open,
    Opened,
    Restore,
    Train,
)
from support.learners import ask, introduced, opened, train
from support.progress import silent
from wire.digest import Content
from wire.predictions.logits import RowsShape, decode_rows
from wire.updates.packing import Packing
from wire.updates.units import Schema, decode_offered

Config = Callable[..., LearnerConfig]


def test_without_steps_the_answer_has_the_state_as_it_is(config: Config) -> None:
    learner = opened(config())
    trained = train(learner, 0)
    before = learner.state
    same = train(learner, 1, steps=0)
    assert all(np.array_equal(before[name], value) for name, value in learner.state.items())
    assert (same.update, same.evidence, same.trust_loss) == (
        trained.update,
        trained.evidence,
        trained.trust_loss,
    )
    assert (same.tokens, same.samples, same.steps) == (0, 0, 0)
    after, again = train(learner, 2), opened(config(), trained.snapshot)
    assert train(again, 2).update == after.update, "the optimiser's state is as it was"


def test_a_share_of_the_rate_moves_the_adapter_by_that_share(config: Config) -> None:
    moved: list[float] = []
    for rate in (1.0, 0.25):
        learner = opened(config(training=TrainingConfig(batch_windows=4, learning_rate=1e-3, warmup_steps=0)))
        before = learner.state
        ask(learner, Train(request=2, round=0, steps=1, rate=rate))
        moved.append(sum(float(np.abs(value - before[name]).sum()) for name, value in learner.state.items()))
    # Float32 rounds the state after the step.
    assert moved[1] == pytest.approx(0.25 * moved[0], rel=1e-3)


def test_a_text_that_grew_is_read_without_moving_what_was_dealt(config: Config, tmp_path: Path) -> None:
    lines = [f"line {number} tells of {number * 7} otters and {number * 3} herons" for number in range(300)]
    (tmp_path / "b.txt").write_text("\n".join(lines[:200]))
    grows = config(data=DataConfig(path=str(tmp_path), window_tokens=24, trust_windows=256, test_windows=256))
    first = introduced(grows)[1]
    (tmp_path / "a.txt").write_text("\n".join(lines[200:]))

    def again(text: Content | None) -> Opened:
        reply = answer(None, Open(request=1, config=grows, snapshot=None, text=text), silent)[1]
        assert isinstance(reply, Opened)
        return reply

    grown = again(first.text)
    assert grown.text not in (None, first.text)
    assert grown.train_tokens > first.train_tokens
    assert grown.test_tokens > first.test_tokens
    assert again(grown.text) == grown, "and is not dealt a second time"
    (tmp_path / "a.txt").unlink()
    assert again(grown.text).test_loss == pytest.approx(first.test_loss), "the test windows are the same"


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_training_lowers_the_loss_on_text_it_has_not_seen(config: Config, family: str) -> None:
    learner, before = introduced(config(family))

    done = train(learner, 1, steps=20)
    merged: Merged = ask(learner, Merge(request=3, row=(1.0,), updates=()))

    assert done.tokens == 20 * 4 * 23, "every position but the first bears loss"
    assert done.samples == 80
    assert merged.test_alone < before.test_loss - 0.05
    assert merged.test_alone == merged.test_merged


def test_an_untrained_adapter_is_the_base_model(config: Config) -> None:
    losses = {
        introduced(config(adapter=AdapterConfig(rank=4, seed=seed)))[1].test_loss for seed in ("a", "b")
    }

    assert len(losses) == 1


def test_the_embedded_model_learns_from_an_embedded_text(config: Config, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text(demo_share("it", part=0, of=8), encoding="utf-8")
    data = DataConfig(path=str(tmp_path), window_tokens=64, trust_windows=2, test_windows=2)
    whole = LearnerConfig(model=ModelConfig(device="cpu", threads=1), data=data)
    learner, reply = introduced(replace(whole, training=TrainingConfig(batch_windows=2, warmup_steps=1)))

    done = train(learner, 1, steps=4)

    assert reply.rows == targets(learner.shared.reference.windows_WT).sum()
    assert done.evidence.size < 7_000, "of a hardly trained model, which is the least sure of itself"
    assert done.trust_loss < 10


def test_what_is_published_is_the_adapter(config: Config) -> None:
    learner, reply = introduced(config())

    done = train(learner, 1)

    offer, sent = decode_offered(done.update.data, Schema(reply.units, reply.codec))
    assert offer == done.offer == reply.offer
    for name, values in learner.state.items():
        np.testing.assert_allclose(sent[name], values, rtol=2**-8)
    shape = RowsShape(reply.rows, reply.top, reply.vocabulary, coded=reply.coded)
    assert reply.coded
    assert decode_rows(done.evidence.data, shape).ids_RK.shape == (reply.rows, 4)


def test_a_learner_that_was_closed_goes_on_bit_for_bit(config: Config) -> None:
    straight = opened(config())
    train(straight, 1)
    want = train(straight, 2)

    first = train(opened(config()), 1)
    resumed, reply = introduced(config(), snapshot=first.snapshot)
    got = train(resumed, 2)

    assert reply.round == 1
    assert (got.update, got.evidence, got.snapshot) == (want.update, want.evidence, want.snapshot)


@pytest.mark.parametrize("packing", ["normal", "sparse"])
def test_the_first_update_after_a_restart_is_told_apart_from_the_last_before_it(
    config: Config, packing: Packing
) -> None:
    straight = opened(config(packing=packing))
    last = train(straight, 1)
    want = train(straight, 2)

    got = train(opened(config(packing=packing), snapshot=last.snapshot), 2)

    assert last.update.digest in {one.base for one in got.packed}
    assert (got.packed, got.update, got.snapshot) == (want.packed, want.update, want.snapshot)


def test_a_peer_that_goes_back_to_an_earlier_state_tells_apart_from_what_it_announced_last(
    config: Config,
) -> None:
    learner = opened(config(packing="normal"))
    early, last = train(learner, 1), train(learner, 2)

    ask(learner, Restore(request=9, snapshot=early.snapshot))

    bases = {one.base for one in train(learner, 3).packed}
    assert last.update.digest in bases
    assert early.update.digest not in bases


def test_a_round_that_is_repeated_after_a_crash_is_the_same(config: Config) -> None:
    learner = opened(config())
    snapshot = train(learner, 1).snapshot

    first = train(opened(config(), snapshot=snapshot), 2)
    again = train(opened(config(), snapshot=snapshot), 2)

    assert first.update == again.update


def test_the_open_learner_says_what_it_reads_without_names_of_files(config: Config, text_file: Path) -> None:
    _, opened = answer(None, Open(request=1, config=config(), snapshot=None), silent)

    assert isinstance(opened, Opened)
    assert opened.account[0].startswith("text: 1 file, 180 documents, ")
    assert opened.account[1].startswith("windows of 24 tokens: ")
    assert opened.account[2].startswith("model: llama, ")
    assert text_file.name not in " ".join(opened.account)
