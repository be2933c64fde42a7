"""Two tokenizers' tokens are matched where both end a character at the same place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from gossipllm.projection.positions import ends_of, shared_positions, spans_of
from trust.errors import UserMistake

TEXTS = st.text(st.sampled_from("the cat, naïve, été\n日本"), min_size=1, max_size=60)


def byte_level(size: int) -> Any:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    inner.train_from_iterator(["the cat sat on the cat, the cat the naïve"] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner)


FINE, COARSE = byte_level(256), byte_level(290)


def test_a_tokenizer_shares_every_token_with_itself_but_those_within_a_character() -> None:
    _, spans = spans_of(FINE, "é a", "m")

    assert len(spans) == 4  # é takes two tokens
    assert shared_positions(spans, spans) == ([1, 2, 3], [1, 2, 3])


def test_tokens_that_end_at_different_places_are_not_matched() -> None:
    assert shared_positions([(0, 3), (3, 4)], [(0, 2), (2, 4)]) == ([1], [1])


def test_special_tokens_are_no_positions() -> None:
    assert ends_of([(0, 0), (0, 2), (2, 2), (2, 5)]) == {2: 1, 5: 3}
    assert ends_of([]) == {}


@given(TEXTS)
def test_what_is_read_up_to_a_matched_position_is_the_same_text(text: str) -> None:
    (ids_fine, fine), (ids_coarse, coarse) = spans_of(FINE, text, "m"), spans_of(COARSE, text, "m")

    at_fine, at_coarse = shared_positions(fine, coarse)

    assert at_fine, "the end of the text is always shared"
    for one, other in zip(at_fine, at_coarse, strict=True):
        assert FINE.decode(ids_fine[: one + 1]) == COARSE.decode(ids_coarse[: other + 1])


def test_a_tokenizer_that_cannot_say_where_its_tokens_stand_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(UserMistake, match="the small model: its tokenizer does not say where a token stands"):
        spans_of(Slow(), "text", "the small model")
