"""Tests of likelihoods against sums over a plain forward pass, and of choices against likelihoods."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch

from gossipllm.model.loading.models import Base
from gossipllm.tasks.examples import Choose
from gossipllm.tasks.likelihood import Likelihood, choices_made, overlapping, sample_nats
from gossipllm.text.dealing.categories import Tokens
from gossipllm.text.samples import PromptTarget, encoded
from gossipllm.text.windows import decoded, targets


def by_hand(base: Base, sample: Tokens) -> float:
    ids = torch.tensor(decoded(sample), dtype=torch.int64)
    with torch.inference_mode():
        logits = cast("Any", base.model)(input_ids=ids[None]).logits[0, :-1].double()
    losses = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
    return float(losses[torch.tensor(sample[1:] >= 0)].sum())


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_a_sample_costs_the_nats_of_its_target_whatever_samples_share_its_batch(
    base: Callable[..., Base], family: str
) -> None:
    model = base(family)
    pairs = [
        PromptTarget("The heron", " slept."),
        PromptTarget("", "winter came"),
        PromptTarget("The otter of Lisbon", " sang 3 times ere"),
    ]
    samples = encoded(pairs, model.tokenizer)
    finished: list[int] = []

    nats = sample_nats(model, samples, finished.append)

    assert nats == pytest.approx([by_hand(model, one) for one in samples], rel=1e-5)  # float32 sums
    assert sum(finished) == 3


@pytest.mark.parametrize("count", [2, 7, 8, 9, 30])
def test_pieces_that_overlap_by_one_bear_the_loss_of_each_token_but_the_first_once(count: int) -> None:
    pieces = overlapping(np.arange(count, dtype=np.int32), 8)

    assert [int(token) for piece in pieces for token in piece[1:]] == list(range(1, count))
    assert all(2 <= len(piece) <= 8 for piece in pieces)
    assert sum(int(targets(piece)) for piece in pieces) == count - 1


def test_the_likeliest_choice_is_that_of_fewest_nats(base: Callable[..., Base]) -> None:
    model = base()
    prompts = [f"In the year {year} the heron of Bergen" for year in range(1500, 1520)]
    examples = [Choose(prompt, ("slept.", "danced 9 times ere spring came."), 0) for prompt in prompts]
    examples += [Choose(prompt, ("sang ere winter", "sang ere spring"), 0) for prompt in prompts]

    made = choices_made(model, examples, lambda _: None)

    for example, (whole, by_byte) in zip(examples, made, strict=True):
        pairs = [PromptTarget(example.prompt, " " + choice) for choice in example.choices]
        nats = np.array([by_hand(model, one) for one in encoded(pairs, model.tokenizer, end=False)])
        assert whole == nats.argmin()
        assert by_byte == (nats / [len(choice) for choice in example.choices]).argmin()
    assert len({by_byte for _, by_byte in made}) == 2, "a model that always takes the same shows nothing"


def test_uniform_guesses_among_256_bytes_are_eight_bits() -> None:
    uniform = Likelihood(nats=12 * math.log(256), tokens=12, bytes=12)

    assert uniform.perplexity == pytest.approx(256)
    assert uniform.bits_per_byte == pytest.approx(8)
    assert Likelihood(nats=1e6, tokens=1, bytes=1).perplexity == math.inf
