"""Laws of a partition of whole samples: numbers of samples, requested shares, disjointness and bands of length."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipllm.text.dealing.categories import Category
from gossipllm.text.dealing.partitions import PartitionConfig, Share, mixtures, theoretical
from gossipllm.text.dealing.sample_partitions import partition_samples
from gossipllm.text.windows import targets
from trust.errors import UserMistake

KINDS = ("exclusive", "mixture", "dirichlet", "length", "iid", "released")


def samples(count: int, *, categories: int = 4) -> list[Category]:
    """Categories of samples with a prompt of three tokens and 1 to 40 target tokens. Every token of a sample is the
    sample's number; those of category c begin at c million."""
    return [
        Category(
            f"c{c}",
            tuple(
                np.array([~(c * 1_000_000 + i)] * 3 + [c * 1_000_000 + i] * (1 + i % 40), np.int32)
                for i in range(count)
            ),
        )
        for c in range(categories)
    ]


def deal(categories: list[Category], *, peers: int = 6, seed: int = 0, **options: Any) -> tuple[Share, ...]:
    counts = {name: options.pop(name, default) for name, default in COUNTS.items()}
    return partition_samples(
        categories, PartitionConfig(**options), peers=peers, seed=seed, pad=99_999_999, **counts
    )


COUNTS = {"train_samples": 20, "trust_samples": 4, "test_samples": 6}


def every_window(share: Share) -> list[np.ndarray]:
    return [share.splits.train_WT, share.splits.trust_WT, share.splits.test_WT]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(seed=st.integers(0, 2**31), train=st.integers(1, 30), peers=st.integers(1, 7))
def test_each_peer_gets_its_number_of_samples(kind: str, seed: int, train: int, peers: int) -> None:
    shares = deal(samples(400), kind=kind, seed=seed, peers=peers, train_samples=train, alpha=0.3)

    for share in shares:
        assert [len(windows) for windows in every_window(share)] == [train, 4, 6]
        assert share.samples == train
        assert share.targets == share.tokens_C.sum() == targets(share.splits.train_WT).sum()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_no_sample_serves_two_peers_or_two_splits(kind: str, seed: int) -> None:
    shares = deal(samples(200), kind=kind, seed=seed, alpha=0.3)

    firsts = [~int(row[0]) for share in shares for windows in every_window(share) for row in windows]
    assert len(firsts) == len(set(firsts)) == 6 * 30


@pytest.mark.parametrize("kind", KINDS)
def test_samples_stay_whole_and_are_padded_to_the_peers_longest(kind: str) -> None:
    for share in deal(samples(200), kind=kind):
        widths = {windows.shape[1] for windows in every_window(share)}
        assert len(widths) == 1
        assert widths.pop() in (16, 32, 43)
        for row in np.concatenate(every_window(share)):
            own = ~int(row[0])
            length = 1 + own % 1_000_000 % 40
            rest = len(row) - 3 - length
            assert row.tolist() == [~own] * 3 + [own] * length + [~99_999_999] * rest


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_give_equal_partitions_and_another_seed_another(kind: str) -> None:
    first, again, other = (
        [share.splits.train_WT[:, 0].tolist() for share in deal(samples(200), kind=kind, seed=seed)]
        for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other


def test_a_partition_is_the_same_on_every_machine() -> None:
    share = deal(samples(200), kind="dirichlet")[1]

    assert (~share.splits.train_WT[:4, 0]).tolist() == [50, 124, 2000036, 121]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "length"])
def test_the_samples_of_a_peer_do_not_depend_on_how_many_peers_come_after_it(kind: str) -> None:
    few, many = (deal(samples(200), kind=kind, peers=peers) for peers in (3, 6))

    for one, other in zip(few, many[:3], strict=True):
        assert one.splits.train_WT[:, 0].tolist() == other.splits.train_WT[:, 0].tolist()


def test_with_kind_exclusive_each_peer_holds_one_data_set() -> None:
    shares = deal(samples(60, categories=3), kind="exclusive", peers=3)

    assert np.array_equal(mixtures(shares), np.eye(3))
    assert np.array_equal(theoretical(shares), np.eye(3))


def test_a_mixture_holds_three_quarters_and_one_of_its_samples() -> None:
    for peer, share in enumerate(deal(samples(200), kind="mixture")):
        categories = ~share.splits.train_WT[:, 0] // 1_000_000
        assert np.bincount(categories, minlength=4)[[peer % 4, (peer + 1) % 4]].tolist() == [15, 5]


def test_by_length_equal_numbers_of_samples_give_unequal_numbers_of_tokens() -> None:
    shares = deal(samples(60), kind="length", peers=3)

    lengths = [np.concatenate([targets(windows) for windows in every_window(share)]) for share in shares]
    for shorter, longer in pairwise(lengths):
        assert shorter.max() <= longer.min()
    assert [share.samples for share in shares] == [20, 20, 20]
    # Means of about 7, 20 and 34 tokens.
    assert 2 * shares[0].targets < shares[1].targets
    assert 1.4 * shares[1].targets < shares[2].targets
    assert (mixtures(shares) > 0.05).all(), "categories are mixed"


def test_too_few_samples_are_a_user_error_that_says_how_many_there_are() -> None:
    says = 'category "c0" holds 29 samples, but 60 are needed'
    with pytest.raises(UserMistake, match=re.escape(says)):
        deal(samples(29))
    says = "each of 6 bands of length holds 19 samples, but 30 are needed"
    with pytest.raises(UserMistake, match=re.escape(says)):
        deal(samples(29), kind="length")


@pytest.mark.parametrize(
    ("split", "fewest"), [("train_samples", 1), ("trust_samples", 2), ("test_samples", 2)]
)
def test_fewer_samples_than_a_split_needs_are_a_user_error(split: str, fewest: int) -> None:
    with pytest.raises(UserMistake, match=f"{split} must be at least {fewest}, got {fewest - 1}"):
        deal(samples(60), **{split: fewest - 1})


def test_there_must_be_peers_and_categories() -> None:
    with pytest.raises(ValueError, match="there must be peers and categories"):
        deal([])
