"""Windows of bytes: the same for all tokenizers, and each tokenizer's tokens of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from gossipllm.config import ReferenceConfig
from gossipllm.text.in_bytes.windows import byte_windows, token_windows
from gossipllm.text.reference import load_reference
from gossipllm.text.windows import rows_of, targets
from trust.errors import UserMistake

Tok = Any


@pytest.fixture(scope="session")
def letters() -> Tok:
    """A tokenizer that makes a token of every byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({one: index for index, one in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner)


def config(text_file: Path, **options: Any) -> ReferenceConfig:
    given: dict[str, Any] = {"source": str(text_file), "windows": 6, "window_bytes": 40, "top": 4, **options}
    return ReferenceConfig(**given)


@given(st.text(alphabet="ab é漢😀\n ", max_size=300), st.integers(16, 40))
def test_windows_are_whole_characters_of_the_text_in_order_without_overlap(text: str, size: int) -> None:
    data = "\n".join(line for line in text.splitlines() if line.strip()).encode()
    at = 0
    for window in byte_windows(text, size):
        window.decode()
        assert size - 3 <= len(window) <= size
        found = data.index(window, at)
        assert found == 0 or data[found : found + 1] == b" " or data[found - 1 : found] == b"\n"
        at = found + len(window)


def test_a_window_begins_at_a_line_or_inside_of_a_longer_one_at_a_space() -> None:
    text = "A short line.\n\nand a longer line that holds two windows and a bit\nThe last line is dropped"
    assert byte_windows(text, 24) == [
        b"A short line.\nand a long",
        b" line that holds two win",
        b"The last line is dropped",
    ]


def test_two_tokenizers_share_the_fingerprint_and_not_the_rows(
    text_file: Path, tokenizer: Tok, letters: Tok
) -> None:
    ours, theirs = (
        load_reference(config(text_file), one, context_length=64, vocabulary=320)
        for one in (tokenizer, letters)
    )

    assert ours.fingerprint == theirs.fingerprint
    assert theirs.shape.rows == 6 * 39, "a byte each, but for the first of a window"
    assert ours.shape.rows < theirs.shape.rows / 2


def test_both_read_the_same_text(text_file: Path, tokenizer: Tok, letters: Tok) -> None:
    read = [
        [one.decode(window[window >= 0]) for window in reference.windows_WT]
        for one in (tokenizer, letters)
        for reference in [load_reference(config(text_file), one, context_length=64, vocabulary=320)]
    ]
    assert read[0] == read[1]


def test_shorter_windows_are_filled_up_where_they_bear_no_loss(letters: Tok) -> None:
    windows_WT = token_windows([b"abcd", b"ab"], letters)
    assert windows_WT.shape == (2, 4)
    assert targets(windows_WT).tolist() == [3, 1]
    assert rows_of(windows_WT, np.array([1])).tolist() == [3]
    assert rows_of(windows_WT, np.array([1, 0])).tolist() == [3, 0, 1, 2]


@pytest.mark.parametrize("changed", [{"seed": "x"}, {"top": 5}, {"windows": 5}, {"window_bytes": 41}])
def test_every_setting_changes_the_fingerprint(
    text_file: Path, tokenizer: Tok, changed: dict[str, Any]
) -> None:
    plain, other = (
        load_reference(config(text_file, **options), tokenizer, context_length=64, vocabulary=320)
        for options in ({}, changed)
    )
    assert plain.fingerprint != other.fingerprint


def test_a_model_with_more_outputs_than_tokens_has_rows_of_the_same_shape(
    text_file: Path, tokenizer: Tok
) -> None:
    plain, padded = (
        load_reference(config(text_file), tokenizer, context_length=64, vocabulary=vocabulary).shape
        for vocabulary in (320, 384)
    )
    assert plain == padded


def test_even_windows_hold_no_filling(text_file: Path, tokenizer: Tok) -> None:
    reference = load_reference(config(text_file), tokenizer, context_length=64, vocabulary=320)
    assert (reference.windows_WT < 0).any()
    assert (reference.even_WT >= 0).all()
    assert reference.even_WT.shape[1] == 1 + targets(reference.windows_WT).min()


@pytest.mark.parametrize(
    ("options", "context_length", "message"),
    [
        ({}, 16, "window_bytes is 40, of which the tokenizer makes up to 40 tokens, but the model takes"),
        ({"window_bytes": 4096, "windows": 6}, 4096, r"gives \d windows of 4096 bytes, 6 are wanted"),
    ],
)
def test_what_a_reference_set_cannot_have_is_said_in_one_line(
    text_file: Path, letters: Tok, options: dict[str, Any], context_length: int, message: str
) -> None:
    with pytest.raises(UserMistake, match=message):
        load_reference(config(text_file, **options), letters, context_length=context_length, vocabulary=256)


@pytest.mark.parametrize("size", [-1, 15, 4097])
def test_windows_have_a_sensible_size(size: int) -> None:
    with pytest.raises(ValueError, match=r"window_bytes must be 0 or in 16\.\.4096"):
        ReferenceConfig(window_bytes=size)


def test_published_work_counts_windows_in_tokens_whatever_the_bytes() -> None:
    assert not ReferenceConfig(positions="last").by_bytes
    assert not ReferenceConfig(window_bytes=0).by_bytes
    assert ReferenceConfig().by_bytes
