"""The embedded base model loads, speaks English best, and can be made again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from gossipllm import base
from gossipllm.base.making.checkpoint import PretrainingRun, export, new_run, restore, save
from gossipllm.base.making.corpus import CorpusDocument, pages, unseen
from gossipllm.base.making.loss import evaluate, windows
from gossipllm.base.making.packages import PACKAGES
from gossipllm.base.making.pretraining import main, train
from gossipllm.base.making.prose import html_prose, pod_prose
from gossipllm.base.making.recipe import PretrainingConfig, base_config, rate
from gossipllm.base.making.replicas import Replicas
from gossipllm.base.making.vocabulary import (
    Tokens,
    bytes_per_token,
    encode,
    load_tokenizer,
    make_tokenizer,
)

PAGE = """<html><head><title>The title of a page is not a sentence of it.</title></head><body>
<nav><p>This is the menu, and all of it has to be dropped, though it looks like prose.</p></nav>
<div class="sphinxsidebar"><div>The same is true of what stands in the sidebar of this page.</div>
</div><h1>A heading that is as long as a paragraph is still not one of the paragraphs.</h1>
<p>The first paragraph of the page is kept, with its <code>code</code> and its <em>emphasis</em>
on one line.</p><pre>if the_code(is_prose): print("it is not, and must not be in the text")</pre>
<p>Too short.</p><p>Dieser Absatz ist lang genug und endet richtig, aber er ist nicht englisch.</p>
<p>0x00 0x01 0x02 0x03 0x04 0x05 0x06 0x07 0x08 0x09 the of to and a in is that for it as.</p>
<ul><li>The second one is an item of a list, and it has no closing tag of its own.
<li>The third one comes after it, which is &quot;good enough&quot; for a parser of pages.</ul>
"""


ENGLISH_BOUND = 1.6
"""Bits a byte; the shipped weights measure 1.45 on these windows, a fresh model 3.0."""


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


def base_model() -> LlamaForCausalLM:
    return cast("Any", AutoModelForCausalLM).from_pretrained(
        base.model_folder(), local_files_only=True, dtype=torch.float32
    )


def bits_per_byte(model: LlamaForCausalLM, name: str) -> float:
    tokenizer = load_tokenizer(base.model_folder())
    stream = encode(tokenizer, base.corpus_file(name))
    lengths = bytes_per_token(tokenizer)
    return evaluate(model, stream, lengths, window_tokens=256, bf16=False, count=8)[1]


def test_the_embedded_model_loads_through_the_ordinary_classes_and_is_small() -> None:
    model = base_model()
    tokenizer = cast("Any", AutoTokenizer).from_pretrained(base.model_folder(), local_files_only=True)
    assert model.config.to_diff_dict().items() >= {"vocab_size": 4096, "hidden_size": 256}.items()
    assert len(tokenizer) == model.config.vocab_size
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 0, 1)
    assert (base.model_folder() / "model.safetensors").stat().st_size <= 12_000_000
    assert all(torch.isfinite(weight).all() for weight in model.parameters())


def test_the_shipped_configuration_is_the_recipe() -> None:
    model = base_model()
    recipe = base_config(4096)
    for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"):
        assert getattr(model.config, name) == getattr(recipe, name)
    assert model.config.max_position_embeddings == 256


@pytest.mark.parametrize("name", base.CORPORA)
def test_the_tokenizer_gives_every_text_back_byte_for_byte(name: str) -> None:
    tokenizer: Any = load_tokenizer(base.model_folder())
    text = base.corpus_file(name).read_text(encoding="utf-8")[:20_000]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert bytes_per_token(tokenizer)[ids].sum() == len(text.encode())


def test_a_dialogue_becomes_a_line_a_turn_and_marks_the_answers() -> None:
    tokenizer: Any = load_tokenizer(base.model_folder())
    dialogue = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    text = tokenizer.apply_chat_template(dialogue, tokenize=False)
    assert text == "user: Why?\nassistant: So.<|endoftext|>\n"
    question = tokenizer.apply_chat_template(dialogue[:1], tokenize=False, add_generation_prompt=True)
    assert question == "user: Why?\nassistant:"
    encoded = tokenizer.apply_chat_template(dialogue, return_dict=True, return_assistant_tokens_mask=True)
    answer = [
        token
        for token, marked in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
        if marked
    ]
    assert tokenizer.decode(answer) == " So.<|endoftext|>"


def test_english_is_its_own_language_and_the_others_are_not() -> None:
    model = base_model()
    english = bits_per_byte(model, "en")
    assert english < ENGLISH_BOUND
    for name in ("fr", "de", "it", "java"):
        assert bits_per_byte(model, name) > english + 2.0  # 2.7 to 3.4 were measured


def test_an_unknown_corpus_is_refused_with_the_names_of_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"fr, de, it, en, java, got 'es'"):
        base.corpus_file("es")


def test_only_the_prose_of_a_page_is_kept() -> None:
    assert html_prose(PAGE) == [
        "The first paragraph of the page is kept, with its code and its emphasis on one line.",
        "The second one is an item of a list, and it has no closing tag of its own.",
        'The third one comes after it, which is "good enough" for a parser of pages.',
    ]


def test_pod_loses_its_formatting_codes_and_its_code() -> None:
    page = (
        "=head1 NAME\n\nThis is B<not I<only>> for the L<reader|perlop> of a\n"
        "C<< page->new >>, it is for F<all> of them.\n\n    $code = 1;\n"
    )
    assert pod_prose(page) == ["This is not only for the reader of a page->new, it is for all of them."]


def test_pages_in_other_languages_and_change_logs_are_not_opened(tmp_path: Path) -> None:
    for name in ("a.html", "b.de.html", "c.html.en", "fr/d.html", "changelog.html", "e.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("<p>")
    assert [path.name for path in pages(tmp_path)] == ["a.html", "c.html.en"]


def test_a_paragraph_is_kept_once_in_all_packages() -> None:
    seen: set[bytes] = set()
    assert unseen(["one", "two", "one"], seen) == ["one", "two"]
    assert unseen(["two", "three", "bro\ufffdken"], seen) == ["three"]


def test_about_one_document_in_sixty_is_held_out_by_its_name() -> None:
    held_out = [CorpusDocument(name=f"package/{n}.html", paragraphs=[]).held_out for n in range(10_000)]
    assert 100 < sum(held_out) < 200  # 150 expected, standard deviation 12


def test_the_source_of_the_demonstration_texts_is_not_read() -> None:
    assert "debian-handbook" not in PACKAGES


def test_the_rate_rises_to_its_peak_and_ends_at_its_share() -> None:
    config = PretrainingConfig(tokens=100 * 8192)
    rates = [rate(step, config) for step in range(config.steps)]
    assert max(rates) == pytest.approx(config.peak_rate)
    assert rates.index(max(rates)) in (4, 5)
    assert rates[-1] == pytest.approx(config.final_rate_share * config.peak_rate)
    assert rates[5:] == sorted(rates[5:], reverse=True)


@pytest.mark.parametrize(
    "wrong", [{"tokens": 10}, {"micro_windows": 5}, {"warm_up_share": 1.0}, {"seed": -1}]
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
    resumed = restore(tmp_path / "checkpoint.pt", tiny_config())
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
    corpus = tmp_path / "train.txt"
    corpus.write_text("the same words and the same words and other words\n" * 20)
    tokenizer: Any = make_tokenizer(corpus, size=300)
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
