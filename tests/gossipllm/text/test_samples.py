"""Tests of samples: a pair becomes one window in which the target bears loss, and prompt and padding do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipllm.text.samples import PromptTarget, encoded, encoded_prompts, fitted, padded, padding_id
from gossipllm.text.windows import bearing, decoded, targets


def ids(first: int, count: int) -> np.ndarray:
    return np.arange(first, first + count, dtype=np.int32)


def sample(prompt: int, target: int) -> np.ndarray:
    return np.concatenate([~ids(0, prompt), ids(10, target)])


def test_a_pair_is_a_marked_prompt_and_a_target_that_ends_the_text(tokenizer: Any) -> None:
    (one,) = encoded([PromptTarget("The heron", " slept.")], tokenizer)

    end = tokenizer.eos_token_id
    assert tokenizer.decode(decoded(one)) == "<|end|>The heron slept.<|end|>"
    assert tokenizer.decode(one[one >= 0]) == " slept.<|end|>"
    assert one[0] == ~end
    assert one[-1] == end
    assert encoded_prompts(["The heron"], tokenizer)[0].tolist() == (~one[one < 0]).tolist()


def test_a_target_without_prompt_loses_no_token(tokenizer: Any) -> None:
    (one,) = encoded([PromptTarget("", "winter")], tokenizer)

    assert targets(one) == len(tokenizer("winter")["input_ids"]) + 1


def test_an_answer_among_others_does_not_end_the_text(tokenizer: Any) -> None:
    (one,) = encoded([PromptTarget("The heron", " slept.")], tokenizer, end=False)

    assert tokenizer.decode(one[one >= 0]) == " slept."


def test_a_long_sample_loses_the_left_of_its_prompt_and_then_the_right_of_its_target() -> None:
    assert fitted(sample(5, 3), 9).tolist() == [~0, ~1, ~2, ~3, ~4, 10, 11, 12]
    assert fitted(sample(5, 3), 5).tolist() == [~3, ~4, 10, 11, 12]
    assert fitted(sample(5, 3), 3).tolist() == [~4, 10, 11]
    assert fitted(sample(0, 3), 2).tolist() == [10, 11]


def test_a_sample_needs_room_for_two_tokens() -> None:
    with pytest.raises(ValueError, match="longest must be at least 2, got 1"):
        fitted(sample(1, 1), 1)


@given(
    lengths=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=5),
    longest=st.integers(2, 20),
)
def test_padding_adds_no_target_and_changes_no_token(lengths: list[tuple[int, int]], longest: int) -> None:
    samples = [fitted(sample(prompt, target), longest) for prompt, target in lengths]

    windows = padded(samples, length=20, pad=3)

    assert windows.shape == (len(samples), 20)
    assert targets(windows).tolist() == [(one >= 0).sum() for one in samples]
    assert bearing(windows).sum(axis=1).tolist() == targets(windows).tolist()
    for row, one in zip(windows, samples, strict=True):
        assert np.array_equal(decoded(row)[: len(one)], decoded(one))
        assert (row[len(one) :] == ~3).all()


def test_windows_without_marks_bear_loss_except_for_their_first_token() -> None:
    windows = ids(0, 12).reshape(3, 4)

    assert np.array_equal(decoded(windows), windows)
    assert bearing(windows).all()
    assert targets(windows).tolist() == [3, 3, 3]


def test_windows_are_padded_with_the_end_of_text(tokenizer: Any) -> None:
    assert padding_id(tokenizer) == tokenizer.eos_token_id
