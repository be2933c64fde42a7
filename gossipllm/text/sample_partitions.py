"""Samples dealt to peers whole: the same number to each, hence unlike numbers of tokens.

The counterpart of `gossipllm.text.partitions` for samples (`gossipllm.text.samples`). Categories hold samples, the
shares of a partition are of samples, and what a peer holds comes as windows of one sample each, filled up to the
peer's longest. The kind "length" sorts the samples of all categories by the tokens that bear loss, since these are
what weighs in training, and gives each peer a band of them: three peers hold short, medium and long ones.

Samples of one document (several answers to one question) may fall to different peers and splits.

Axes: N peers, S splits, C categories, T tokens of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from gossipllm.randomness import permutation
from gossipllm.text.categories import LABEL, Category, CategoryTokens
from gossipllm.text.partitions import PartitionConfig, Share, intended
from gossipllm.text.proportions import I64, apportioned
from gossipllm.text.samples import padded
from gossipllm.text.windows import MIN_TEST, MIN_TRUST, Splits, targets
from trust.errors import UserMistake

_STEP: Final = 16
"""Windows are as long as a multiple of this, so that peers whose longest samples are about alike train in one pass."""


def partition_samples(
    categories: Sequence[Category],
    config: PartitionConfig,
    *,
    peers: int,
    train_samples: int,
    trust_samples: int,
    test_samples: int,
    seed: int,
    pad: int = 0,
) -> tuple[Share, ...]:
    """Each peer's share, replayed by the seed on any machine. Raises `UserMistake` where samples are lacking.

    Of `config` only the kind and its options count. Pieces of the categories are samples. Which samples a peer holds
    does not depend on how many peers come after it, but for "length".
    """
    if peers < 1 or not categories:
        raise ValueError(f"there must be peers and categories, got {peers} and {len(categories)}")
    counts_S = _counts(train_samples, trust_samples, test_samples)
    if config.kind == "length":
        dealt = _bands(categories, counts_S, peers, seed)
    else:
        dealt = _by_category(categories, config, counts_S, peers, seed)
    most = max(len(part.tokens) for parts_S in dealt for parts in parts_S for part in parts)
    return tuple(
        _share(parts_S, len(categories), (seed, peer), most=most, pad=pad)
        for peer, parts_S in enumerate(dealt)
    )


def _counts(train: int, trust: int, test: int) -> tuple[int, int, int]:
    for name, count, fewest in (("train", train, 1), ("trust", trust, MIN_TRUST), ("test", test, MIN_TEST)):
        if count < fewest:
            raise UserMistake(f"{name}_samples must be at least {fewest}, got {count}")
    return train, trust, test


def _by_category(
    categories: Sequence[Category],
    config: PartitionConfig,
    counts_S: tuple[int, int, int],
    peers: int,
    seed: int,
) -> list[list[list[CategoryTokens]]]:
    shares_NC = intended(config, peers=peers, categories=len(categories), seed=seed)
    counts_NSC = np.array(
        [[apportioned(shares_C, count) for count in counts_S] for shares_C in shares_NC], np.int64
    )
    dealt: list[list[list[CategoryTokens]]] = [[[] for _ in counts_S] for _ in range(peers)]
    for number, category in enumerate(categories):
        wanted: I64 = counts_NSC[:, :, number]
        if wanted.sum() > len(category.pieces):
            raise _too_few(f'category "{category.name}"', len(category.pieces), int(wanted.sum()))
        order = iter(permutation(LABEL, (seed, "samples", number), len(category.pieces)))
        for parts_S, wanted_S in zip(dealt, wanted, strict=True):
            for parts, count in zip(parts_S, wanted_S, strict=True):
                parts += [
                    CategoryTokens(number, category.pieces[int(next(order))]) for _ in range(int(count))
                ]
    return dealt


def _bands(
    categories: Sequence[Category], counts_S: tuple[int, int, int], peers: int, seed: int
) -> list[list[list[CategoryTokens]]]:
    """Bands of equal numbers of samples. Where samples of one length must part, chance decides which go where."""
    parts = [CategoryTokens(c, piece) for c, category in enumerate(categories) for piece in category.pieces]
    lengths = np.array([targets(part.tokens) for part in parts], np.int64)
    shuffled = permutation(LABEL, (seed, "sample lengths"), len(parts))
    order = shuffled[np.argsort(lengths[shuffled], kind="stable")]
    if len(parts) // peers < sum(counts_S):
        raise _too_few(f"each of {peers} bands of length", len(parts) // peers, sum(counts_S))
    dealt: list[list[list[CategoryTokens]]] = []
    for peer, members in enumerate(np.array_split(order, peers)):
        mixed = iter(members[permutation(LABEL, (seed, "sample band", peer), len(members))])
        dealt.append([[parts[int(next(mixed))] for _ in range(count)] for count in counts_S])
    return dealt


def _too_few(what: str, held: int, needed: int) -> UserMistake:
    return UserMistake(
        f"{what} holds {held:,} samples, but {needed:,} are needed, and none serves two peers or two splits; add "
        f"samples, or lower those of a peer"
    )


def _share(
    parts_S: list[list[CategoryTokens]], categories: int, parts: tuple[int, int], *, most: int, pad: int
) -> Share:
    longest = max(len(part.tokens) for parts in parts_S for part in parts)
    length = min(-(-longest // _STEP) * _STEP, most)
    windows = [
        padded([part.tokens for part in taken], length=length, pad=pad)[
            permutation(LABEL, ("sample windows", *parts, split), len(taken))
        ]
        for split, taken in enumerate(parts_S)
    ]
    tokens_C = np.zeros(categories, np.int64)
    for part in parts_S[0]:
        tokens_C[part.category] += targets(part.tokens)
    return Share(Splits(*windows), tokens_C)
