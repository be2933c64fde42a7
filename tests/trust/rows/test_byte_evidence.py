"""Distances of byte rows and of spans, where tokenizers have boundaries at different offsets."""

from __future__ import annotations

import numpy as np
import pytest

from trust.rows.byte_evidence import across_tokenizers, byte_distance, span_distance
from trust.rows.evidence import Distance
from wire.predictions.byte_rows import ByteRows


def rows(at: list[int], chances: list[float], spans: list[float] | None = None) -> ByteRows:
    """At each offset symbol 7 with the given probability, symbol 9 with the rest."""
    p = np.array(chances, np.float32)
    return ByteRows(
        np.array(at),
        np.tile(np.array([7, 9], np.uint32), (len(at), 1)),
        np.log(np.stack([p, 1 - p], axis=1)),
        np.zeros(len(at), np.float32),
        np.array(spans or [], np.float32),
    )


def hellinger(p: list[float], q: list[float]) -> float:
    return float(np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2))


def test_only_offsets_where_both_have_a_boundary_are_compared() -> None:
    mine, theirs = rows([1, 4, 8], [0.5, 0.9, 0.5]), rows([2, 4, 8], [0.1, 0.6, 0.4])

    found = byte_distance(mine, theirs)

    apart = [hellinger([0.9, 0.1], [0.6, 0.4]), hellinger([0.5, 0.5], [0.4, 0.6])]
    assert found.mean == pytest.approx(sum(apart) / 2, abs=1e-6)
    assert found.error == pytest.approx(abs(apart[0] - apart[1]) / 2, abs=1e-6)
    assert byte_distance(theirs, mine) == found


def test_a_symbol_that_one_side_did_not_keep_counts_as_0_there() -> None:
    mine, theirs = (
        ByteRows(
            np.array([3]),
            np.array([symbols], np.uint32),
            np.log(np.array([chances], np.float32)),
            np.full(1, tail, np.float32),
            np.zeros(0, np.float32),
        )
        for symbols, chances, tail in (([7, 9], [0.5, 0.25], 0.25), ([8, 9], [0.75, 0.125], 0.125))
    )

    found = byte_distance(mine, theirs)

    assert found.mean == pytest.approx(hellinger([0.5, 0, 0.25], [0, 0.75, 0.125]), abs=1e-6)


def test_equal_rows_are_at_distance_0() -> None:
    mine = rows([1, 4], [0.5, 0.9], [-1.0])
    assert byte_distance(mine, mine) == span_distance(mine, mine) == Distance(0.0, 0.0)


def test_tokenizers_without_a_common_boundary_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="an offset in common"):
        byte_distance(rows([1], [0.5]), rows([2], [0.5]))


def test_spans_count_where_both_know_them() -> None:
    mine, theirs = (
        rows([1], [0.5], spans) for spans in ([-1.0, np.nan, -3.0, -4.0], [-2.0, -5.0, np.nan, -1.0])
    )

    found = span_distance(mine, theirs)
    assert found.mean == pytest.approx((1 / 3 + 3 / 5) / 2)
    assert found.error == pytest.approx((3 / 5 - 1 / 3) / 2)
    certain = rows([1], [0.5], [0.0])
    assert span_distance(certain, certain) == Distance(0.0, 0.0)


def test_across_tokenizers_rows_and_spans_count_the_same_and_rows_alone_without_spans() -> None:
    mine, theirs = rows([1, 4], [0.5, 0.9], [-1.0]), rows([1, 4], [0.1, 0.6], [-3.0])

    both, by_rows = across_tokenizers(mine, theirs), byte_distance(mine, theirs)

    assert both.mean == pytest.approx((by_rows.mean + 0.5) / 2)
    assert both.error == pytest.approx(by_rows.error / 2)
    assert across_tokenizers(mine, rows([1, 4], [0.1, 0.6], [np.nan])) == by_rows


def test_without_a_span_that_both_know_there_is_no_distance() -> None:
    with pytest.raises(ValueError, match="spans that both know must not be empty"):
        span_distance(rows([1], [0.5], [np.nan]), rows([1], [0.5], [-1.0]))
