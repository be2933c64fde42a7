from __future__ import annotations

import math

import numpy as np
import pytest

from support.block_contrast import within_over_across
from trust.record.measures import (
    asymmetry,
    divergences,
    effective_collaborators,
    entropy,
    rank_correlations,
)

NAN = math.nan


def test_a_peer_alone_has_one_collaborator_and_no_entropy() -> None:
    assert effective_collaborators((1.0, 0.0, 0.0)) == 1
    assert entropy((1.0, 0.0, 0.0)) == 0


def test_a_uniform_row_has_as_many_collaborators_as_entries() -> None:
    assert effective_collaborators((0.25,) * 4) == pytest.approx(4)
    assert entropy((0.25,) * 4) == pytest.approx(math.log(4))


def test_mutual_trust_is_symmetric_and_one_sided_trust_is_not() -> None:
    assert asymmetry([[0.9, 0.1], [0.1, 0.9]]) == 0
    assert asymmetry([[0.5, 0.5], [0.0, 1.0]]) == pytest.approx(1)
    assert math.isnan(asymmetry([[1.0, 0.0], [0.0, 1.0]]))


def test_unknown_rows_are_left_out() -> None:
    known = [[0.6, 0.4, 0.0], [0.2, 0.8, 0.0], [NAN, NAN, NAN]]
    assert asymmetry(known) == pytest.approx(0.2 / 0.6)
    assert within_over_across(known, "aab") == math.inf


def test_block_contrast_by_hand() -> None:
    matrix = [[0.5, 0.3, 0.1, 0.1], [0.3, 0.5, 0.1, 0.1], [0.1, 0.1, 0.5, 0.3], [0.1, 0.1, 0.3, 0.5]]
    assert within_over_across(matrix, ["de", "de", "fr", "fr"]) == pytest.approx(3)
    assert within_over_across(np.full((4, 4), 0.25), ["de", "de", "fr", "fr"]) == pytest.approx(1)
    assert math.isnan(within_over_across(matrix, ["de"] * 4))
    with pytest.raises(ValueError, match="groups must have one entry"):
        within_over_across(matrix, ["de"])


def test_divergence_from_the_oracle_by_hand() -> None:
    oracle = [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    rows = [[0.5, 0.5, 0.0], [0.25, 0.25, 0.5], [1.0, 0.0, 0.0]]
    assert divergences(oracle, rows).tolist() == pytest.approx([0, math.log(2), math.inf])
    assert np.isnan(divergences(oracle, np.full((3, 3), NAN))).all()


def test_rank_correlation_is_that_of_ranks_without_the_peer_itself() -> None:
    oracle = [[0.1, 0.6, 0.2, 0.1], [0.6, 0.1, 0.2, 0.1], [0.6, 0.2, 0.1, 0.1], [0.6, 0.2, 0.1, 0.1]]
    rows = [[0.9, 0.06, 0.03, 0.01], [0.01, 0.9, 0.03, 0.06], [0.1, 0.1, 0.7, 0.1], [NAN] * 4]
    found = rank_correlations(oracle, rows)
    assert found[:2] == pytest.approx([1, -1])
    assert np.isnan(found[2:]).all()


def test_ties_have_their_mean_rank() -> None:
    # Ranks (0, 1.5, 1.5, 3) and (0, 1, 2, 3): 4.5 / sqrt(4.5 * 5).
    oracle = np.tile([0.0, 0.1, 0.2, 0.2, 0.5], (5, 1))
    rows = np.tile([0.0, 0.1, 0.2, 0.3, 0.4], (5, 1))
    assert rank_correlations(oracle, rows)[0] == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_a_matrix_is_square() -> None:
    with pytest.raises(ValueError, match="square"):
        asymmetry([[1.0, 0.0]])
    with pytest.raises(ValueError, match="oracle must have shape"):
        divergences([[1.0]], [[0.5, 0.5], [0.5, 0.5]])
