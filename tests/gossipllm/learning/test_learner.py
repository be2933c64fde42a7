"""One learner, request by request, on tiny models."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import (
    load_file,  # pyright: ignore[reportUnknownVariableType] - typed in part
    save_file,  # pyright: ignore[reportUnknownVariableType] - typed in part
)

from gossipllm.config import AdapterConfig, DataConfig, LearnerConfig, ModelConfig, TrainingConfig
from gossipllm.learning.learner import Learner
from gossipllm.learning.learner_pool import answer
from gossipllm.model.adapter.snapshots import decode_snapshot, encode_snapshot
from gossipllm.text.reference import demo_share
from gossipllm.work import (
    Answer,
    Declined,
    Evaluate,
    Evaluated,
    Failed,
    Merge,
    Merged,
    Open,
    Opened,
    Progress,
    Train,
    Trained,
    Weigh,
    Weighed,
    Work,
)
from wire.digest import Content
from wire.units import Schema, decode_offered

Config = Callable[..., LearnerConfig]


def silent(_: Progress) -> None:
    pass


def opened(config: LearnerConfig, snapshot: Content | None = None) -> Learner:
    return introduced(config, snapshot)[0]


def introduced(config: LearnerConfig, snapshot: Content | None = None) -> tuple[Learner, Opened]:
    learner, reply = answer(None, Open(request=1, config=config, snapshot=snapshot), silent)
    assert isinstance(reply, Opened), reply
    assert learner is not None
    return learner, reply


def ask(learner: Learner, request: Work) -> Any:
    return answer(learner, request, silent)[1]


def train(learner: Learner, number: int, steps: int = 5) -> Trained:
    return ask(learner, Train(request=2, round=number, steps=steps))


@pytest.fixture(scope="module")
def neighbour(config: Config) -> Trained:
    """What another peer, with other batches, published."""
    other = opened(
        config(training=TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=2, seed=9))
    )
    return train(other, 1)


def filled(update: Content, pair: bytes) -> Content:
    """An update of the same offer, every number of which is this bfloat16."""
    head = 4 + int.from_bytes(update.data[2:4], "little")
    return Content.of(update.data[:head] + pair * ((update.size - head) // 2))


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

    assert reply.rows == 20 * 23
    assert done.evidence.size <= 32_768, "small enough to ride in the announcement"
    assert done.trust_loss < 10


def test_what_is_published_is_the_adapter(config: Config) -> None:
    learner, reply = introduced(config())

    done = train(learner, 1)

    offer, sent = decode_offered(done.update.data, Schema(reply.units, reply.codec))
    assert offer == done.offer == reply.offer
    for name, values in learner.state.items():
        np.testing.assert_allclose(sent[name], values, rtol=2**-8)
    assert done.evidence.size == reply.rows * (4 * (2 + 2) + 2)


def test_a_learner_that_was_closed_goes_on_bit_for_bit(config: Config) -> None:
    straight = opened(config())
    train(straight, 1)
    want = train(straight, 2)

    first = train(opened(config()), 1)
    resumed, reply = introduced(config(), snapshot=first.snapshot)
    got = train(resumed, 2)

    assert reply.round == 1
    assert (got.update, got.evidence, got.snapshot) == (want.update, want.evidence, want.snapshot)


def test_a_round_that_is_repeated_after_a_crash_is_the_same(config: Config) -> None:
    learner = opened(config())
    snapshot = train(learner, 1).snapshot

    first = train(opened(config(), snapshot=snapshot), 2)
    again = train(opened(config(), snapshot=snapshot), 2)

    assert first.update == again.update


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
        ("predictions", None, b"short", "evidence.length"),
        ("predictions", None, b"\xff" * 504, "evidence.ids"),
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
    blob: bytes | None,
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
    before = learner.snapshot()

    declined: Declined = ask(
        learner,
        Weigh(
            request=3,
            author="x",
            update=Content.of(data),
            evidence=Content.of(blob or neighbour.evidence.data),
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


@pytest.mark.parametrize(
    ("family", "adapter", "says"),
    [
        ("qwen2", {"rank": 4, "alpha": 8.0}, "another base model"),
        ("llama", {"rank": 2}, "another form of adapter"),
    ],
)
def test_a_snapshot_of_something_else_names_both(
    config: Config, neighbour: Trained, family: str, adapter: dict[str, Any], says: str
) -> None:
    other = config(family, adapter=AdapterConfig(**adapter))

    failed = _reply(Open(request=7, config=other, snapshot=neighbour.snapshot))

    assert isinstance(failed, Failed)
    assert failed.users_fault
    assert says in failed.why
    assert "there," in failed.why


def test_bytes_that_are_no_snapshot_are_the_users_matter(config: Config, neighbour: Trained) -> None:
    for data in (b"", b"GLS1", b"x" * 100, neighbour.snapshot.data[:-7]):
        failed = _reply(Open(request=7, config=config(), snapshot=Content.of(data)))
        assert isinstance(failed, Failed)
        assert "no snapshot" in failed.why


def test_steps_that_memory_does_not_suffice_for_leave_everything_as_it_was(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = opened(config())
    before = train(learner, 1).snapshot

    def full(*_: object) -> Any:
        raise MemoryError("no memory for this batch")

    monkeypatch.setattr("gossipllm.learning.passes.fleet.local_steps", full)
    failed: Failed = ask(learner, Train(request=8, round=2, steps=5))

    assert failed == Failed(request=8, why="no memory for this batch", users_fault=False)
    assert learner.snapshot() == before


def test_a_rate_that_blows_up_says_which_setting_to_lower(config: Config, neighbour: Trained) -> None:
    saved = decode_snapshot(neighbour.snapshot.data)
    huge = replace(saved, adapter={name: np.full_like(v, 1e30) for name, v in saved.adapter.items()})
    training = replace(TrainingConfig(), learning_rate=1.0, warmup_steps=0)
    learner = opened(config(training=training), snapshot=Content.of(encode_snapshot(huge)))
    before = learner.snapshot()

    failed: Failed = ask(learner, Train(request=8, round=1, steps=2))

    assert failed.users_fault
    assert "training.learning_rate" in failed.why
    assert learner.snapshot() == before


def test_missing_text_is_the_users_mistake(config: Config) -> None:
    failed = _reply(
        Open(request=1, config=config(data=DataConfig(path="/nowhere.txt", window_tokens=24)), snapshot=None)
    )

    assert failed == Failed(
        request=1, why="data.path: there is no file or folder /nowhere.txt", users_fault=True
    )


def _reply(request: Open) -> Answer:
    return answer(None, request, silent)[1]


def test_weights_of_the_base_that_are_no_numbers_are_named_and_not_the_learning_rate(
    config: Config, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(model_folder("llama"), tmp_path / "model"))
    weights: dict[str, Any] = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    settings = replace(
        config(), model=ModelConfig(name=str(folder), device="cpu", dtype="float32", threads=1)
    )

    learner, reply = answer(None, Open(request=1, config=settings, snapshot=None), silent)

    assert learner is None
    assert isinstance(reply, Failed)
    assert reply.users_fault
    assert "its weight model.layers.1.mlp.down_proj.weight holds numbers that are not finite" in reply.why


def test_the_open_learner_says_what_it_reads_without_names_of_files(config: Config, text_file: Path) -> None:
    _, opened = answer(None, Open(request=1, config=config(), snapshot=None), silent)

    assert isinstance(opened, Opened)
    assert opened.account[0].startswith("text: 1 file, 180 documents, ")
    assert opened.account[1].startswith("windows of 24 tokens: ")
    assert opened.account[2].startswith("model: llama, ")
    assert text_file.name not in " ".join(opened.account)
