"""The next byte that a model predicts: the sum over all tokens that begin with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gossipllm.learning.jobs.next_bytes import placed
from gossipllm.learning.passes.predicting.byte_predictions import byte_predictions, symbol_probabilities
from gossipllm.text.in_bytes.positions import BytePositions
from gossipllm.text.vocabulary import NO_SYMBOL, first_symbols
from wire.predictions.byte_rows import ByteShape

TOKENS = [b"a", b"ab", b" a", b" ", None, b"b", b" ab", b"\xc3\xa9"]


def logits(rows: int = 5, width: int = len(TOKENS)) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(3).normal(size=(rows, width)), dtype=torch.float32)


def test_a_symbol_has_the_probability_of_all_tokens_that_begin_with_it() -> None:
    logits_RV = logits()
    chances = logits_RV.softmax(dim=-1)

    found = symbol_probabilities(logits_RV, torch.tensor(first_symbols(TOKENS)))

    for symbol, members in {
        97: [0, 1],
        98: [5],
        32: [3],
        256 + 97: [2, 6],
        0xC3: [7],
        NO_SYMBOL: [4],
    }.items():
        torch.testing.assert_close(found[:, symbol], chances[:, members].sum(dim=1))
    torch.testing.assert_close(found.sum(dim=1), torch.ones(5))


def test_outputs_without_a_token_are_nothing_that_begins() -> None:
    logits_RV = logits(width=len(TOKENS) + 3)
    found = symbol_probabilities(logits_RV, torch.tensor(first_symbols(TOKENS)))
    torch.testing.assert_close(found[:, NO_SYMBOL], logits_RV.softmax(dim=-1)[:, [4, 8, 9, 10]].sum(dim=1))


def test_rows_keep_the_most_probable_symbols_and_the_rest_as_a_tail() -> None:
    logits_RV = logits()
    true_R = torch.tensor([0, 1, 2, 3, 5])
    symbols = torch.tensor(first_symbols(TOKENS))
    whole = symbol_probabilities(logits_RV, symbols)[:, :NO_SYMBOL].numpy()

    found = byte_predictions(logits_RV, true_R, symbols, 3)

    assert (np.diff(found.ids_RK.astype(int), axis=1) > 0).all()
    for row in range(5):
        assert set(found.ids_RK[row].tolist()) == set(np.argsort(-whole[row])[:3].tolist())
    np.testing.assert_allclose(np.exp(found.logp_RK).sum(axis=1) + found.tail_R, 1, atol=1e-5)
    assert found.true_R[1] == pytest.approx(float(logits_RV[1].log_softmax(dim=0)[1]), abs=1e-5)


def test_a_span_has_the_probability_of_its_tokens_and_rows_without_a_place_are_left_out() -> None:
    found = byte_predictions(logits(3), torch.tensor([0, 1, 2]), torch.tensor(first_symbols(TOKENS)), 2)
    positions = BytePositions(ByteShape(9, 2), np.array([-1, 4, 6]), np.array([[1, 3], [0, 0]]))

    rows = placed(found, positions)

    assert rows.at_R.tolist() == [4, 6]
    assert rows.spans_S[0] == pytest.approx(float(found.true_R[1:].sum()), abs=1e-5)
    assert np.isnan(rows.spans_S[1])
