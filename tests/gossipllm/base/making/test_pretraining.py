"""Pretraining of the embedded models: its schedule, its steps, and the command that makes them again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from gossipllm import base
from gossipllm.base.making.checkpoint import PretrainingRun, export, new_run, restore, save
from gossipllm.base.making.loss import evaluate, windows
from gossipllm.base.making.pretraining import main
from gossipllm.base.making.recipe import PretrainingConfig, rate
from gossipllm.base.making.replicas import Replicas
from gossipllm.base.making.training import train
from gossipllm.base.making.vocabulary import Tokens, load_tokenizer, make_tokenizer


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on a tiny model mostly wait for each other, most of all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_config() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )


def tiny_run(*, steps: int) -> PretrainingRun:
    config = PretrainingConfig(
        tokens=steps * 32, window_tokens=8, batch_windows=4, micro_windows=2, bf16=False, seed=3
    )
    return new_run(config, tiny_config())


def tiny_stream() -> Tokens:
    return np.random.default_rng(0).integers(0, 64, size=500).astype(np.uint16)


def weights(run: PretrainingRun) -> list[torch.Tensor]:
    return [weight.detach() for weight in run.model.parameters()]


def test_the_rate_rises_to_its_peak_and_ends_at_its_share() -> None:
    config = PretrainingConfig(tokens=100 * 8192)
    rates = [rate(step, config) for step in range(config.steps)]
    assert max(rates) == pytest.approx(config.peak_rate)
    assert rates.index(max(rates)) in (4, 5)
    assert rates[-1] == pytest.approx(config.final_rate_share * config.peak_rate)
    assert rates[5:] == sorted(rates[5:], reverse=True)


@pytest.mark.parametrize(
    "wrong", [{"tokens": 10}, {"micro_windows": 5}, {"warm_up_share": 1.0}, {"seed": -1}, {"model": "huge"}]
)
def test_a_recipe_that_cannot_be_followed_is_refused(wrong: dict[str, Any]) -> None:
    recipe: dict[str, Any] = {"tokens": 100_000, **wrong}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PretrainingConfig(**recipe)


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    stream = tiny_stream()
    whole = tiny_run(steps=6)
    train(whole, stream, threads=2, after_step=lambda: False)

    interrupted = tiny_run(steps=6)
    train(interrupted, stream, threads=2, after_step=lambda: interrupted.step == 3)
    assert interrupted.step == 3
    save(interrupted, tmp_path / "checkpoint.pt")
    resumed = restore(tmp_path / "checkpoint.pt", lambda _name: tiny_config())
    train(resumed, stream, threads=2, after_step=lambda: False)

    assert resumed.step == whole.step == 6
    assert resumed.training_nats == whole.training_nats
    for one, other in zip(weights(whole), weights(resumed), strict=True):
        assert torch.equal(one, other)


def test_shares_of_a_batch_add_up_to_its_gradient() -> None:
    batch_BT = windows(tiny_stream(), np.arange(5) * 9, 8)
    gradients: list[list[torch.Tensor | None]] = []
    means: list[float] = []
    for threads in (1, 3):  # shares of 2, 2 and 1 windows
        run = tiny_run(steps=1)
        with Replicas(run.model, threads) as replicas:
            means.append(replicas.add_gradient(batch_BT, micro_windows=2, bf16=False))
        gradients.append([weight.grad for weight in run.model.parameters()])
    assert means[0] == pytest.approx(means[1], rel=1e-5)  # float32 sums in another order
    for alone, shared in zip(*gradients, strict=True):
        torch.testing.assert_close(alone, shared, rtol=1e-4, atol=1e-6)


def test_training_learns_a_stream_that_repeats() -> None:
    stream = np.tile(np.arange(16, dtype=np.uint16), 40)
    run = tiny_run(steps=100)
    lengths = np.ones(64, np.int64)
    before, _ = evaluate(run.model, stream, lengths, window_tokens=8, bf16=False)
    train(run, stream, threads=2, after_step=lambda: False)
    after, bits = evaluate(run.model, stream, lengths, window_tokens=8, bf16=False)
    assert before == pytest.approx(np.log(64), abs=0.3)  # an untrained model knows nothing
    assert after < 0.5 * before
    assert bits == pytest.approx(after / np.log(2))  # a byte a token


def test_an_exported_folder_holds_model_and_tokenizer(tmp_path: Path) -> None:
    words = ["the same words and the same words and other words\n"] * 20
    tokenizer: Any = make_tokenizer(words, size=300)
    export(tiny_run(steps=1).model, tokenizer, tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    again = cast("Any", AutoTokenizer).from_pretrained(tmp_path / "model", local_files_only=True)
    assert again.encode("the same words") == tokenizer.encode("the same words")


def test_the_command_writes_a_model_and_does_not_overwrite_its_run(tmp_path: Path) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    corpus.mkdir()
    for name in ("train", "validation"):
        text = base.corpus_file("en").read_text(encoding="utf-8")[:30_000]
        (corpus / f"{name}.txt").write_text(text, encoding="utf-8")
    arguments = ["--corpus", str(corpus), "--out", str(out)]
    begun = CliRunner().invoke(main, [*arguments, "--tokens", "8192"], catch_exceptions=False)
    assert "is ready" in begun.output
    model = cast("Any", AutoModelForCausalLM).from_pretrained(out / "model", local_files_only=True)
    assert model.config.vocab_size == len(load_tokenizer(out / "model"))
    assert len((out / "curve.csv").read_text().splitlines()) == 2  # names, and the only step

    again = CliRunner().invoke(main, [*arguments, "--tokens", "8192"])
    assert again.exit_code == 2
    assert "add --resume" in again.output


def test_a_wrong_folder_ends_the_command_with_a_line_that_says_what_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--corpus", str(tmp_path), "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "gossipllm.base.making.corpus" in result.output


def test_a_model_with_the_tokenizer_of_another_keeps_it_and_its_shape_when_resumed(tmp_path: Path) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    corpus.mkdir()
    for name in ("train", "validation"):
        text = base.corpus_file("en").read_text(encoding="utf-8")[:10_000]
        (corpus / f"{name}.txt").write_text(text, encoding="utf-8")
    arguments = ["--corpus", str(corpus), "--out", str(out), "--threads", "1"]
    CliRunner().invoke(
        main, [*arguments, "--tokens", "8192", "--model", "embedded-small"], catch_exceptions=False
    )

    resumed = CliRunner().invoke(main, [*arguments, "--resume"], catch_exceptions=False)

    assert "is ready" in resumed.output
    shipped, made = base.model_folder() / "tokenizer.json", out / "model" / "tokenizer.json"
    assert made.read_bytes() == shipped.read_bytes()
    model = cast("Any", AutoModelForCausalLM).from_pretrained(out / "model", local_files_only=True)
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (3, 128)


def test_a_resumed_run_keeps_its_model(tmp_path: Path) -> None:
    arguments = ["--corpus", str(tmp_path), "--out", str(tmp_path), "--resume", "--model", "embedded-1024"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "--resume keeps its run's model" in result.output
