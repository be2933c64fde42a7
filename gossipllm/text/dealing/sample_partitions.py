"""Partitions of whole samples among peers: each peer gets the same number of samples, so numbers of tokens differ.

The counterpart of `gossipllm.text.dealing.partitions` for samples (`gossipllm.text.samples`). The pieces of a category
are samples, shares of categories are shares of samples, and each window of a peer holds one sample, padded to the
length of the peer's longest. The kind "length" sorts the samples of all categories by the number of tokens that bear
loss, because only these count in training, and gives each peer one band of lengths: of three peers, one holds the short
samples, one the medium and one the long ones.

Samples of one document (several answers to one question) may go to different peers and splits.

Axes: N peers, S splits, C categories, T tokens of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from gossipllm.randomness import permutation
from gossipllm.text.dealing.categories import LABEL, Category, CategoryTokens
from gossipllm.text.dealing.partitions import PartitionConfig, Share, intended
from gossipllm.text.dealing.proportions import I64, apportioned
from gossipllm.text.samples import padded
from gossipllm.text.windows import MIN_TEST, MIN_TRUST, Splits, targets
from trust.errors import UserMistake

_LENGTH_STEP: Final = 16
"""The length of windows is rounded up to a multiple of this, so that peers whose longest samples are about equally
long have windows of one shape and can be trained in one pass."""


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
    """The share of each peer: the same for equal seeds on every machine.

    The pieces of `categories` are samples. Of `config`, the kind and its options are used, and the budgets in tokens
    are not. Windows are padded with the token `pad`. A peer's samples do not depend on how many peers come after it,
    except for the kind "length". Raises `UserMistake` where there are too few samples.
    """
    if peers < 1 or not categories:
        raise ValueError(f"there must be peers and categories, got {peers} and {len(categories)}")
    counts_S = _counts(train_samples, trust_samples, test_samples)
    if config.kind == "length":
        dealt = _bands(categories, counts_S, peers, seed)
    else:
        dealt = _by_category(categories, config, counts_S, peers, seed)
    longest = max(len(part.tokens) for parts_S in dealt for parts in parts_S for part in parts)
    return tuple(
        _share(parts_S, len(categories), (seed, peer), longest=longest, pad=pad)
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
        # One iterator for all peers and splits, so that no sample is dealt twice.
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
    """Bands of lengths with equal numbers of samples, one for each peer. Samples of equal length on both sides of a
    border are divided at random."""
    parts = [CategoryTokens(c, piece) for c, category in enumerate(categories) for piece in category.pieces]
    lengths = np.array([targets(part.tokens) for part in parts], np.int64)
    # Shuffled first: the stable sort then leaves samples of equal length in random order, not in that of categories.
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
        f"{what} holds {held:,} samples, but {needed:,} are needed, and no sample serves two peers or two splits; add "
        f"samples, or lower those of a peer"
    )


def _share(
    parts_S: list[list[CategoryTokens]],
    categories: int,
    seed_and_peer: tuple[int, int],
    *,
    longest: int,
    pad: int,
) -> Share:
    """The share of one peer. `longest` is the length of the longest sample of all peers: rounding up must not make
    windows longer than that, because it may be all that the model can read."""
    own_longest = max(len(part.tokens) for parts in parts_S for part in parts)
    length = min(-(-own_longest // _LENGTH_STEP) * _LENGTH_STEP, longest)
    windows = [
        padded([part.tokens for part in taken], length=length, pad=pad)[
            permutation(LABEL, ("sample windows", *seed_and_peer, split), len(taken))
        ]
        for split, taken in enumerate(parts_S)
    ]
    tokens_C = np.zeros(categories, np.int64)
    for part in parts_S[0]:
        tokens_C[part.category] += targets(part.tokens)
    train_WT, trust_WT, test_WT = windows
    return Share(Splits(train_WT, trust_WT, test_WT), tokens_C)
