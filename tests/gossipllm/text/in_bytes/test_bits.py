"""Losses in bits a byte, which tokenizers share."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gossipllm.text.in_bytes.bits import bits_per_byte


class ByteTokenizer:
    """A token for each byte; 256 is special."""

    def batch_decode(self, ids: list[list[int]], *, skip_special_tokens: bool) -> list[str]:
        assert skip_special_tokens
        return [bytes(one for one in window if one < 256).decode(errors="replace") for window in ids]


class PairTokenizer:
    """A token for each of three pairs of letters; 0 is special."""

    def batch_decode(self, ids: list[list[int]], *, skip_special_tokens: bool) -> list[str]:
        assert skip_special_tokens
        return ["".join(("", "ab", "cd", "ef")[one] for one in window) for window in ids]


def test_a_bit_for_every_bit_is_what_uniform_bytes_cost() -> None:
    ascii_WT = np.array([[*b"where is"], [*b"the book"]], np.int32)
    assert bits_per_byte(8 * math.log(2), ascii_WT, ByteTokenizer()) == pytest.approx(8)


def test_one_text_costs_the_same_bits_a_byte_in_tokens_of_any_length() -> None:
    words_WT = np.array([[256, *b"abcdef"]], np.int32)
    pairs_WT = np.array([[0, 1, 2, 3]], np.int32)
    assert bits_per_byte(1.0, words_WT, ByteTokenizer()) == pytest.approx(
        bits_per_byte(2.0, pairs_WT, PairTokenizer())
    )


def test_only_bytes_that_bear_loss_count() -> None:
    answered_WT = np.array([[*(~one for one in b"why? "), *b"so."]], np.int32)
    assert bits_per_byte(8 * math.log(2), answered_WT, ByteTokenizer()) == pytest.approx(8)
