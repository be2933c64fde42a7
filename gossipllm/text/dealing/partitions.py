"""Partitions of text among peers by category, for simulations and benchmarks.

A category is one kind of text (a language, a topic), stored as pieces of tokens. Each peer receives pieces until its
training, trust and test budgets are met; the three splits have the same shares of the categories.

`gossipllm.text.dealing.sample_partitions` partitions question-and-answer data instead.

Pieces are chunks rather than documents, so that a peer's three splits come from the same documents. With whole
documents, the test text would have other subjects than the training text, and local training would look worse than it
is. The price, which is the same for every method: a test window may continue a sentence of the training text.

The kind "mixture" is what Wagner, Fan and Jaggi (2024, arXiv 2404.09753) describe as low heterogeneity. For two of
their three data sets the code that they released computes other shares; the kind "released" reproduces these.

Axes: N peers, S splits, C categories, T tokens of a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from gossipllm.randomness import permutation
from gossipllm.text.dealing.categories import (
    LABEL,
    Category,
    CategoryTokens,
    Tokens,
    category_stocks,
    length_stocks,
)
from gossipllm.text.dealing.proportions import F64, I64, apportioned, dirichlet, mixed
from gossipllm.text.reading.corpus import Document
from gossipllm.text.tokens import tokenised
from gossipllm.text.windows import MIN_TEST, MIN_TRUST, Splits, Windows, cut, targets, tokenise
from trust.errors import UserMistake

PartitionKind: TypeAlias = Literal["exclusive", "mixture", "dirichlet", "length", "iid", "released", "clones"]

_MIN_WINDOWS: Final = {"train": 1, "trust": MIN_TRUST, "test": MIN_TEST}
"""Smallest number of windows of each split. The keys are the names of the splits, in the order of the axis S."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionConfig:
    kind: PartitionKind = "exclusive"
    """Which of the C categories peer i holds. "exclusive": only category i mod C. "mixture": `major` of category
    i mod C, the rest of the next category. "dirichlet": shares drawn from Dirichlet(`alpha`). "length": documents of
    all categories in one band of lengths; the first peer has the shortest documents, the last the longest. "iid":
    equal shares of all categories. "released": see `released`. "clones": as "exclusive", but all peers of a category
    hold the very same text, so that merging can only average."""

    major: float = 0.75
    """Share of a mixture's first category, 0.5 to 1. Wagner et al. (2024): 3/4 and 1/4."""

    alpha: float = 0.5
    """Concentration of "dirichlet", in (0, 1,000,000]. Towards 0 each peer holds a single category; for large values
    all peers hold the same shares. Guess."""

    released: Literal["ag-news-low", "multi-wiki-low", "codes-wiki-low"] = "ag-news-low"
    """Which "low" setting of Wagner et al. (2024) the kind "released" reproduces, as their code computes it.
    ag-news-low: mixtures within pairs of categories, as the paper says. multi-wiki-low: the second category of
    each mixture is the first again. codes-wiki-low: every peer holds `major` of the first category and the rest of
    the second."""

    chunk_tokens: int = 256
    """Length in tokens of the pieces that categories are cut into, 8 to 131,072. With a multiple of the window length
    no window spans two pieces. Guess. The kind "length" deals whole documents instead."""

    train_tokens: int = 60_000
    """Training tokens of a peer, rounded down to whole windows, at least one window. Guess."""

    trust_tokens: int = 6_000
    """Tokens on which a peer measures its neighbours, rounded down to whole windows, at least two windows. Guess."""

    test_tokens: int = 12_000
    """Test tokens of a peer, rounded down to whole windows, at least two windows. Guess."""

    def __post_init__(self) -> None:
        if not 0.5 <= self.major <= 1:
            raise ValueError(f"major must be in 0.5..1, got {self.major}")
        if not 0 < self.alpha <= 1e6:
            raise ValueError(f"alpha must be in (0, 1000000], got {self.alpha}")
        if not 8 <= self.chunk_tokens <= 131_072:
            raise ValueError(f"chunk_tokens must be in 8..131072, got {self.chunk_tokens}")
        for split in _MIN_WINDOWS:
            tokens: int = getattr(self, f"{split}_tokens")
            if not 1 <= tokens <= 2**40:
                raise ValueError(f"{split}_tokens must be in 1..2^40, got {tokens}")


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """The text that one peer holds. The windows of each split are in random order, so that the first few of them are
    a random sample of the split."""

    splits: Splits
    tokens_C: I64
    """Training tokens of each category. For samples, only the tokens that bear loss are counted."""

    @property
    def samples(self) -> int:
        """The number of training windows."""
        return len(self.splits.train_WT)

    @property
    def targets(self) -> int:
        """The number of training tokens that bear loss: in a window of plain text, all but the first."""
        return int(targets(self.splits.train_WT).sum())


def categorised(
    texts: Mapping[str, Sequence[str | Document]], tokenizer: Any, config: PartitionConfig
) -> tuple[Category, ...]:
    """The documents of each named category, cut into the pieces that `config` deals."""
    if config.kind == "length":
        return tuple(Category(name, tuple(tokenised(texts[name], tokenizer))) for name in texts)
    return tuple(
        Category(name, pieces_of(tokenise(documents, tokenizer), config.chunk_tokens))
        for name, documents in texts.items()
    )


def pieces_of(stream: Tokens, chunk_tokens: int) -> tuple[Tokens, ...]:
    """The stream in chunks of `chunk_tokens` tokens; the last, incomplete chunk is dropped."""
    return tuple(cut(stream, chunk_tokens))


def partition(
    categories: Sequence[Category], config: PartitionConfig, *, peers: int, window_tokens: int, seed: int
) -> tuple[Share, ...]:
    """The share of each peer: the same for equal seeds on every machine.

    A peer's share does not depend on how many peers come after it, except for the kind "length". Raises `UserMistake`
    where a category or a band of lengths has too little text.
    """
    if peers < 1 or not categories:
        raise ValueError(f"there must be peers and categories, got {peers} and {len(categories)}")
    if config.kind == "clones":
        distinct = replace(config, kind="exclusive")
        count = min(peers, len(categories))
        shares = partition(categories, distinct, peers=count, window_tokens=window_tokens, seed=seed)
        return tuple(shares[peer % count] for peer in range(peers))
    windows_S = _whole_windows(config, window_tokens)
    if config.kind == "length":
        needed = sum(windows_S) * window_tokens
        stocks = length_stocks(categories, peers, needed, seed)
        dealt = [[stock.take(count * window_tokens) for count in windows_S] for stock in stocks]
    else:
        dealt = _dealt(
            categories, _split_tokens(config, windows_S, window_tokens, peers, len(categories), seed), seed
        )
    return tuple(
        _share(parts_S, len(categories), window_tokens, (seed, peer)) for peer, parts_S in enumerate(dealt)
    )


def mixtures(shares: Sequence[Share]) -> F64:
    """`(N, C)`: the share of each category in the training tokens of each peer. Rows sum to 1."""
    tokens_NC = np.stack([share.tokens_C for share in shares]).astype(np.float64)
    return tokens_NC / tokens_NC.sum(axis=1, keepdims=True)


def theoretical(shares: Sequence[Share]) -> F64:
    """`(N, N)`: the theoretical trust matrix P P' of the mixtures P, with its rows scaled to sum to 1.

    The reference matrix of Wagner et al. (2024), computed from the shares that the peers really hold. It is an
    assumption and no optimum: no result says that trust should be proportional to the overlap of mixtures.
    """
    mixtures_NC = mixtures(shares)
    overlap_NN = mixtures_NC @ mixtures_NC.T
    return overlap_NN / overlap_NN.sum(axis=1, keepdims=True)


def intended(config: PartitionConfig, *, peers: int, categories: int, seed: int) -> F64:
    """`(N, C)`: the shares of categories that `config` asks for, before rounding to whole windows.

    Raises `ValueError` for the kind "length", which asks for no shares.
    """
    first = np.arange(peers) % categories
    match config.kind:
        case "exclusive" | "clones":
            return mixed(first, first, config.major, categories)
        case "mixture":
            return mixed(first, (first + 1) % categories, config.major, categories)
        case "dirichlet":
            return np.stack([dirichlet(config.alpha, categories, (seed, peer)) for peer in range(peers)])
        case "iid":
            return np.full((peers, categories), 1 / categories)
        case "released":
            return _released(config, first, categories)
        case "length":
            raise ValueError('kind "length" aims at lengths, not at shares of categories')


def _released(config: PartitionConfig, first: I64, categories: int) -> F64:
    """The shares in the code that was published with Wagner et al. (2024), as of its first commit.

    For Multi-Wiki the code computes the second category as (20 + (i + 1) mod 20) mod 3, which is i mod 3 again. For
    Codes-Wiki it tests the parity of the number of peers instead of that of the peer's number.
    """
    match config.released:
        case "ag-news-low":
            if categories % 2:
                raise UserMistake(f"released = ag-news-low pairs the categories, but there are {categories}")
            return mixed(first, first ^ 1, config.major, categories)
        case "multi-wiki-low":
            return mixed(first, first, config.major, categories)
        case "codes-wiki-low":
            if categories < 2:
                raise UserMistake("released = codes-wiki-low mixes two categories, but there is one")
            # Every peer has the same shares, whatever its number: categories 0 and 1.
            return mixed(0 * first, 0 * first + 1, config.major, categories)


def _whole_windows(config: PartitionConfig, window_tokens: int) -> tuple[int, ...]:
    """The number of whole windows in the budget of each split."""
    counts: list[int] = []
    for split, fewest in _MIN_WINDOWS.items():
        tokens: int = getattr(config, f"{split}_tokens")
        counts.append(tokens // window_tokens)
        if counts[-1] < fewest:
            bound = f"at least {fewest * window_tokens}, {fewest} windows of {window_tokens}"
            raise UserMistake(f"{split}_tokens must be {bound}, got {tokens}")
    return tuple(counts)


def _split_tokens(
    config: PartitionConfig,
    windows_S: tuple[int, ...],
    window_tokens: int,
    peers: int,
    categories: int,
    seed: int,
) -> I64:
    """`(N, S, C)`: tokens by peer, split and category, in whole windows that sum to the budget of each split."""
    shares_NC = intended(config, peers=peers, categories=categories, seed=seed)
    counts = [[apportioned(shares_C, windows) for windows in windows_S] for shares_C in shares_NC]
    return np.array(counts, np.int64) * window_tokens


def _dealt(categories: Sequence[Category], tokens_NSC: I64, seed: int) -> list[list[list[CategoryTokens]]]:
    """The pieces of each peer and split."""
    needed_C: list[int] = tokens_NSC.sum(axis=(0, 1)).tolist()
    stocks = category_stocks(categories, needed_C, seed)

    def taken(tokens_C: I64) -> list[CategoryTokens]:
        return [
            part for stock, tokens in zip(stocks, tokens_C, strict=True) for part in stock.take(int(tokens))
        ]

    # Peer by peer, so that the pieces of a peer do not depend on how many peers come after it.
    return [[taken(tokens_C) for tokens_C in tokens_SC] for tokens_SC in tokens_NSC]


def _share(
    parts_S: list[list[CategoryTokens]], categories: int, window_tokens: int, seed_and_peer: tuple[int, int]
) -> Share:
    windows: list[Windows] = []
    for split, taken in zip(_MIN_WINDOWS, parts_S, strict=True):
        windows_WT = cut(np.concatenate([part.tokens for part in taken]), window_tokens)
        # Pieces come category by category: without a shuffle the first windows would be of one category only.
        windows.append(windows_WT[permutation(LABEL, ("windows", *seed_and_peer, split), len(windows_WT))])
    tokens_C = np.zeros(categories, np.int64)
    for part in parts_S[0]:
        tokens_C[part.category] += len(part.tokens)
    train_WT, trust_WT, test_WT = windows
    return Share(Splits(train_WT, trust_WT, test_WT), tokens_C)
