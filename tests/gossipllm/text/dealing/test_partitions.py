"""Laws of a partition: it meets budgets and requested shares, is disjoint, and is the same for equal seeds."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipllm.text.dealing.categories import Category
from gossipllm.text.dealing.partitions import (
    PartitionConfig,
    Share,
    categorised,
    intended,
    mixtures,
    partition,
    pieces_of,
    theoretical,
)
from gossipllm.text.dealing.proportions import apportioned, dirichlet
from trust.errors import UserMistake

KINDS = ("exclusive", "mixture", "dirichlet", "length", "iid", "released")
WINDOW = 8


def chunked(count: int, *, categories: int = 3, length: int = 32) -> list[Category]:
    """Categories of chunks in which no token id occurs twice; category c has the ids from c million on."""
    stream = np.arange(count * length, dtype=np.int32)
    return [Category(f"c{c}", pieces_of(stream + c * 1_000_000, length)) for c in range(categories)]


def documents(counts: list[int]) -> list[Category]:
    """Two equal categories of documents with these numbers of tokens; every token of a document is its length."""
    pieces = tuple(np.full(length, length, np.int32) for length in counts)
    return [Category("a", pieces), Category("b", pieces)]


def config(**options: Any) -> PartitionConfig:
    given: dict[str, Any] = {"train_tokens": 320, "trust_tokens": 40, "test_tokens": 80, **options}
    return PartitionConfig(**given)


def deal(categories: list[Category], *, peers: int = 6, seed: int = 0, **options: Any) -> tuple[Share, ...]:
    return partition(categories, config(**options), peers=peers, window_tokens=WINDOW, seed=seed)


def every_window(share: Share) -> list[np.ndarray]:
    return [share.splits.train_WT, share.splits.trust_WT, share.splits.test_WT]


def same(one: tuple[Share, ...], other: tuple[Share, ...]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(
        np.array_equal(a, b) for x, y in pairs for a, b in zip(every_window(x), every_window(y), strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**31), train=st.integers(8, 500), peers=st.integers(1, 9))
def test_each_peer_gets_its_budgets_in_whole_windows(kind: str, seed: int, train: int, peers: int) -> None:
    shares = deal(
        chunked(400, categories=4), kind=kind, seed=seed, peers=peers, train_tokens=train, alpha=0.3
    )

    for share in shares:
        assert [len(windows) for windows in every_window(share)] == [train // WINDOW, 5, 10]
        assert share.tokens_C.sum() == share.splits.train_WT.size


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**31))
def test_no_token_serves_two_peers_or_two_splits(kind: str, seed: int) -> None:
    # 100 tokens are no multiple of a chunk, so that pieces are cut.
    shares = deal(chunked(200, categories=4), kind=kind, seed=seed, train_tokens=100, alpha=0.3)

    pieces = [
        {(int(token) // 1_000_000, int(token) % 1_000_000 // 32) for token in windows.ravel()}
        for share in shares
        for windows in every_window(share)
    ]
    assert sum(map(len, pieces)) == len(set[tuple[int, int]]().union(*pieces))


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_give_equal_partitions_and_another_seed_another(kind: str) -> None:
    first, again, other = (deal(chunked(80, categories=4), kind=kind, seed=seed) for seed in (1, 1, 2))

    assert same(first, again)
    assert not same(first, other)


def test_a_partition_is_the_same_on_every_machine() -> None:
    share = deal(chunked(80), kind="dirichlet")[1]

    assert share.tokens_C.tolist() == [288, 16, 16]
    assert share.splits.train_WT[:3, 0].tolist() == [904, 1520, 912]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "length"])
def test_the_text_of_a_peer_does_not_depend_on_how_many_peers_come_after_it(kind: str) -> None:
    few, many = (deal(chunked(80, categories=4), kind=kind, peers=peers) for peers in (3, 6))

    assert same(few, many[:3])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**31))
def test_rows_of_mixtures_and_of_the_theoretical_matrix_are_distributions(kind: str, seed: int) -> None:
    shares = deal(chunked(120, categories=4), kind=kind, seed=seed)

    for rows in (mixtures(shares), theoretical(shares)):
        assert (rows >= 0).all()
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-12)  # some float64 sums


def test_exclusive_peers_overlap_only_within_their_category() -> None:
    shares = deal(chunked(80), kind="exclusive")

    assert np.array_equal(mixtures(shares), np.tile(np.eye(3), (2, 1)))
    assert np.array_equal(theoretical(shares), np.tile(np.eye(3), (2, 2)) / 2)
    assert (shares[1].splits.test_WT // 1_000_000 == 1).all()


@pytest.mark.parametrize("windows", [40, 41, 43])
def test_a_mixture_holds_three_quarters_and_one_in_all_its_splits(windows: int) -> None:
    shares = deal(chunked(120), kind="mixture", train_tokens=windows * WINDOW)

    for peer, share in enumerate(shares):
        for windows_WT in every_window(share):
            first = (windows_WT[:, 0] // 1_000_000 == peer % 3).sum()
            second = (windows_WT[:, 0] // 1_000_000 == (peer + 1) % 3).sum()
            assert first + second == len(windows_WT)
            assert abs(first - 0.75 * len(windows_WT)) <= 1


def test_the_theoretical_row_of_a_mixture_is_the_product_of_shares() -> None:
    shares = deal(chunked(120), kind="mixture", peers=3)

    # (3/4, 1/4) with itself gives 10/16, with a neighbour 3/16; over their sum, 16/16.
    expected = np.array([[10, 3, 3], [3, 10, 3], [3, 3, 10]]) / 16
    np.testing.assert_allclose(theoretical(shares), expected, atol=1e-12)


def test_iid_peers_hold_equal_shares_of_all_categories() -> None:
    shares = deal(chunked(80, categories=4), kind="iid")

    np.testing.assert_allclose(mixtures(shares), 0.25)
    np.testing.assert_allclose(theoretical(shares), 1 / 6)


def test_a_small_concentration_gives_one_category_and_a_large_concentration_equal_shares() -> None:
    small = np.stack([dirichlet(1e-3, 3, (peer,)) for peer in range(200)])
    large = np.stack([dirichlet(1e6, 3, (peer,)) for peer in range(200)])

    assert np.median(small.max(axis=1)) > 1 - 1e-6
    assert np.ptp(np.bincount(small.argmax(axis=1), minlength=3)) < 40  # standard deviation 7
    np.testing.assert_allclose(large, 1 / 3, atol=3e-3)  # standard deviation 3e-4


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 7.0])
def test_dirichlet_shares_have_the_moments_of_the_distribution(alpha: float) -> None:
    shares = np.stack([dirichlet(alpha, 3, (peer,)) for peer in range(4000)])

    np.testing.assert_allclose(shares.mean(axis=0), 1 / 3, atol=0.03)  # 4 standard errors at alpha 0.1
    np.testing.assert_allclose(shares.var(axis=0), (2 / 9) / (3 * alpha + 1), rtol=0.12)


@given(
    shares=st.lists(st.floats(0.01, 1), min_size=1, max_size=6).map(lambda x: np.array(x) / np.sum(x)),
    windows=st.integers(0, 1000),
)
def test_apportioned_windows_sum_up_and_stay_within_one_of_their_shares(
    shares: np.ndarray, windows: int
) -> None:
    counts = apportioned(shares, windows)

    assert counts.sum() == windows
    assert (np.abs(counts - shares * windows) < 1 + 1e-6).all()


def test_length_bands_deal_short_documents_to_the_first_peer_and_long_ones_to_the_last() -> None:
    categories = documents([length for length in range(2, 60) for _ in range(4)])

    shares = deal(categories, kind="length", peers=3)

    lengths = [np.concatenate([w.ravel() for w in every_window(share)]) for share in shares]
    for shorter, longer in pairwise(lengths):
        assert shorter.max() <= longer.min() + 1, "two bands may share the length at their border"
    assert (mixtures(shares) > 0.2).all(), "categories are mixed"


def test_length_bands_hold_equal_numbers_of_tokens() -> None:
    categories = documents(list(range(2, 100)))
    held = sum(len(piece) for category in categories for piece in category.pieces)
    # Six sevenths of a third each: with bands of equal numbers of documents, the first would run out.
    deal(categories, kind="length", peers=3, train_tokens=held * 2 // 7 - 120)


def test_the_released_multi_wiki_mixes_each_category_with_itself() -> None:
    released = intended(config(kind="released", released="multi-wiki-low"), peers=9, categories=3, seed=0)

    assert np.array_equal(released, intended(config(), peers=9, categories=3, seed=0))
    as_computed = [(20 + (i + 1) % 20) % 3 for i in range(9)]
    assert released.argmax(axis=1).tolist() == as_computed


def test_the_released_codes_wiki_gives_all_peers_equal_shares() -> None:
    released = intended(config(kind="released", released="codes-wiki-low"), peers=8, categories=2, seed=0)

    assert released.tolist() == [[0.75, 0.25]] * 8


def test_the_released_ag_news_mixes_within_pairs() -> None:
    released = intended(config(kind="released"), peers=4, categories=4, seed=0)

    assert (4 * released).tolist() == [[3, 1, 0, 0], [1, 3, 0, 0], [0, 0, 3, 1], [0, 0, 1, 3]]
    with pytest.raises(UserMistake, match="pairs the categories, but there are 3"):
        intended(config(kind="released"), peers=4, categories=3, seed=0)


def test_a_category_with_too_little_text_says_how_much_there_is_and_how_much_is_needed() -> None:
    says = 'category "c1" holds 768 tokens in 24 pieces, but 880 are needed'
    with pytest.raises(UserMistake, match=re.escape(says)):
        deal([chunked(60)[0], *chunked(24)[1:]])


@pytest.mark.parametrize(("split", "least"), [("train", 8), ("trust", 16), ("test", 16)])
def test_a_budget_below_the_smallest_number_of_windows_is_a_user_error(split: str, least: int) -> None:
    with pytest.raises(UserMistake, match=f"{split}_tokens must be at least {least}"):
        deal(chunked(60), **{f"{split}_tokens": least - 1})


@pytest.mark.parametrize(
    "wrong", [{"major": 0.4}, {"alpha": 0.0}, {"chunk_tokens": 7}, {"train_tokens": 0}, {"test_tokens": 0}]
)
def test_a_value_out_of_range_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        config(**wrong)


def test_texts_become_chunks_or_for_lengths_documents(tokenizer: Any) -> None:
    texts = {"birds": ["The heron slept.", "The otter sang."] * 8, "years": ["In the year 1500"] * 9}

    chunks = categorised(texts, tokenizer, config(chunk_tokens=16))
    whole = categorised(texts, tokenizer, config(kind="length"))

    assert {len(piece) for category in chunks for piece in category.pieces} == {16}
    assert [category.name for category in chunks] == ["birds", "years"]
    assert len(whole[0].pieces) == 16
    assert tokenizer.decode(whole[1].pieces[0]) == "In the year 1500<|end|>"


def test_clones_of_a_category_hold_what_its_first_exclusive_peer_holds() -> None:
    categories = chunked(200)
    clones, distinct = deal(categories, kind="clones"), deal(categories, kind="exclusive")
    assert same(clones[:3], distinct[:3])
    assert same(clones[3:], distinct[:3])
    assert np.array_equal(theoretical(clones), theoretical(distinct))
