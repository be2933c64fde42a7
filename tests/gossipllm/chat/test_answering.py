"""Tests of answers: they are passed on piece by piece, equal what `generate` returns, and can be repeated."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from gossipllm.chat.answering import ChatModel, Sampling
from gossipllm.model.loading.models import Base
from gossipllm.tasks.generation import answers


def prompt(base: Base, text: str = "In the year the otter of Lisbon") -> list[int]:
    return cast("Any", base.tokenizer)(text, add_special_tokens=False)["input_ids"]


def test_the_pieces_are_the_answer(base: Base) -> None:
    pieces: list[str] = []

    found = ChatModel(base).answer(prompt(base), Sampling(new_tokens=12), 0, pieces.append)

    assert "".join(pieces) == found.text
    assert 1 < len(pieces) <= found.tokens <= 12


def test_the_likeliest_tokens_are_those_of_an_evaluation(base: Base) -> None:
    text = "In the year the otter of Lisbon"
    (whole,) = answers(base, [text], new_tokens=12, batch=1, one_line=False, done=lambda _: None)
    begin = cast("Any", base.tokenizer).eos_token_id

    found = ChatModel(base).answer(
        [begin, *prompt(base, text)], Sampling(temperature=0, new_tokens=12), 0, lambda _: None
    )

    assert found.text.strip() == whole


def test_equal_seeds_draw_alike_and_other_numbers_otherwise(base: Base) -> None:
    def drawn(seed: int, number: int) -> str:
        sampling = Sampling(temperature=1.5, top_p=1.0, new_tokens=16, seed=seed)
        return ChatModel(base).answer(prompt(base), sampling, number, lambda _: None).text

    state = torch.get_rng_state()

    assert drawn(1, 0) == drawn(1, 0)
    assert len({drawn(1, 0), drawn(1, 1), drawn(2, 0)}) == 3
    assert torch.equal(torch.get_rng_state(), state)


def test_a_temperature_near_zero_counts_as_zero(base: Base) -> None:
    none, least = (
        ChatModel(base).answer(prompt(base), Sampling(temperature=t, new_tokens=6), 0, lambda _: None)
        for t in (0.0, 1e-40)
    )

    assert least.text == none.text


def test_the_end_of_the_text_ends_an_answer(base: Base) -> None:
    end = cast("Any", base.tokenizer).eos_token_id
    model: Any = base.model
    head = model.get_output_embeddings()

    def always(_: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        output = torch.zeros_like(output)
        output[..., end] = 9.0
        return output

    hook = head.register_forward_hook(always)
    found = ChatModel(base).answer(prompt(base), Sampling(temperature=0, new_tokens=12), 0, lambda _: None)
    hook.remove()

    assert (found.text, found.tokens, found.ended) == ("", 0, True)


def test_an_exception_of_the_callback_ends_the_answer(base: Base) -> None:
    pieces: list[str] = []

    def stop(piece: str) -> None:
        pieces.append(piece)
        if len(pieces) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ChatModel(base).answer(prompt(base), Sampling(new_tokens=30), 0, stop)

    assert len(pieces) == 2


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"new_tokens": 0}])
def test_ranges_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**wrong)
