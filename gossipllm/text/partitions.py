"""Text of several kinds dealt to peers: who holds how much of what, for simulations and benchmarks.

A category is one kind of text (a language, a topic) as pieces of tokens. A peer receives pieces until its
budgets for training, trust and test are met, all three with the same shares of the categories.

Question-and-answer data are dealt by `gossipllm.text.sample_partitions` instead.

Pieces are chunks rather than documents, so that a peer's three splits come from the same documents. Were
whole documents dealt, the test text would be about other things than the training text, and training
alone would be blamed for that. The price, the same for every method: a test window may continue a
sentence that was trained on.

What Wagner, Fan and Jaggi (2024, arXiv 2404.09753) describe as low heterogeneity is "mixture"; in two of
three data sets their released code dealt something else, which "released" repeats.

Axes: N peers, S splits, C categories, T tokens of a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from gossipllm.randomness import permutation
from gossipllm.text.categories import LABEL, Category, CategoryTokens, Tokens, category_stocks, length_stocks
from gossipllm.text.proportions import F64, I64, apportioned, dirichlet, mixed
from gossipllm.text.windows import MIN_TEST, MIN_TRUST, Splits, Windows, cut, targets, tokenise, tokenised
from trust.errors import UserMistake

PartitionKind: TypeAlias = Literal["exclusive", "mixture", "dirichlet", "length", "iid", "released"]

_FEWEST_WINDOWS: Final = {"train": 1, "trust": MIN_TRUST, "test": MIN_TEST}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionConfig:
    kind: PartitionKind = "exclusive"
    """What peer i holds of C categories. "exclusive": category i mod C alone. "mixture": `major` of category
    i mod C, the rest of the next one. "dirichlet": shares drawn by Dirichlet(`alpha`). "length": documents of
    all categories that are about equally long, longer ones from peer to peer. "iid": all categories alike.
    "released": see `released`."""

    major: float = 0.75
    """Share of the first category of a mixture, 0.5 to 1. Wagner et al. (2024): 3/4 and 1/4."""

    alpha: float = 0.5
    """Concentration of "dirichlet", above 0 to 1,000,000: towards 0 each peer holds one category, for large
    values all hold the same. Guess."""

    released: Literal["ag-news-low", "multi-wiki-low", "codes-wiki-low"] = "ag-news-low"
    """Which "low" setting of Wagner et al. (2024) the kind "released" repeats, as their code dealt it.
    ag-news-low: mixtures within pairs of categories, as described. multi-wiki-low: the second category of
    each mixture is the first again. codes-wiki-low: everybody holds `major` of the first category, the rest of
    the second."""

    chunk_tokens: int = 256
    """Length of the pieces that categories are cut into, 8 to 131,072; best a multiple of the window, so
    that no window spans two. Guess. The kind "length" deals whole documents instead."""

    train_tokens: int = 60_000
    """Training tokens of a peer, in whole windows, at least one. Guess."""

    trust_tokens: int = 6_000
    """Tokens of a peer that decide whom to trust, in whole windows, at least two. Guess."""

    test_tokens: int = 12_000
    """Tokens of a peer that only measure, in whole windows, at least two. Guess."""

    def __post_init__(self) -> None:
        if not 0.5 <= self.major <= 1:
            raise ValueError(f"major must be in 0.5..1, got {self.major}")
        if not 0 < self.alpha <= 1e6:
            raise ValueError(f"alpha must be in (0, 1000000], got {self.alpha}")
        if not 8 <= self.chunk_tokens <= 131_072:
            raise ValueError(f"chunk_tokens must be in 8..131072, got {self.chunk_tokens}")
        for split in _FEWEST_WINDOWS:
            tokens: int = getattr(self, f"{split}_tokens")
            if not 1 <= tokens <= 2**40:
                raise ValueError(f"{split}_tokens must be in 1..2^40, got {tokens}")


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """What one peer holds. The windows of a split are in random order: any first few are alike."""

    splits: Splits
    tokens_C: I64
    """Training tokens of each category; of samples, those that bear loss."""

    @property
    def samples(self) -> int:
        """Windows to train on."""
        return len(self.splits.train_WT)

    @property
    def targets(self) -> int:
        """Training tokens that bear loss: of a whole window all but the first."""
        return int(targets(self.splits.train_WT).sum())


def categorised(
    texts: Mapping[str, list[str]], tokenizer: Any, config: PartitionConfig
) -> tuple[Category, ...]:
    """Documents by the name of their category, cut into the pieces that `config` deals."""
    if config.kind == "length":
        return tuple(Category(name, tuple(tokenised(texts[name], tokenizer))) for name in texts)
    return tuple(
        Category(name, pieces_of(tokenise(documents, tokenizer), config.chunk_tokens))
        for name, documents in texts.items()
    )


def pieces_of(stream: Tokens, chunk_tokens: int) -> tuple[Tokens, ...]:
    """Chunks of equal length; the last, incomplete one is dropped."""
    return tuple(cut(stream, chunk_tokens))


def partition(
    categories: Sequence[Category], config: PartitionConfig, *, peers: int, window_tokens: int, seed: int
) -> tuple[Share, ...]:
    """Each peer's share, replayed by the seed on any machine. Raises `UserMistake` where text is lacking.

    What a peer holds does not depend on how many come after it, but for "length".
    """
    if peers < 1 or not categories:
        raise ValueError(f"there must be peers and categories, got {peers} and {len(categories)}")
    windows_S = _whole_windows(config, window_tokens)
    if config.kind == "length":
        needed = sum(windows_S) * window_tokens
        stocks = length_stocks(categories, peers, needed, seed)
        dealt = [[stock.take(count * window_tokens) for count in windows_S] for stock in stocks]
    else:
        dealt = _dealt(
            categories, _tokens(config, windows_S, window_tokens, peers, len(categories), seed), seed
        )
    return tuple(
        _share(parts_S, len(categories), window_tokens, (seed, peer)) for peer, parts_S in enumerate(dealt)
    )


def mixtures(shares: Sequence[Share]) -> F64:
    """`(N, C)`: the share of each category in a peer's training tokens; rows sum to 1."""
    tokens_NC = np.stack([share.tokens_C for share in shares]).astype(np.float64)
    return tokens_NC / tokens_NC.sum(axis=1, keepdims=True)


def theoretical(shares: Sequence[Share]) -> F64:
    """`(N, N)`: how far the mixtures of two peers overlap, P P', its rows made to sum to 1.

    The reference matrix of Wagner et al. (2024), here from what the peers really hold. An assumption, not
    an optimum: nothing says that trust should be proportional to overlap.
    """
    mixtures_NC = mixtures(shares)
    overlap_NN = mixtures_NC @ mixtures_NC.T
    return overlap_NN / overlap_NN.sum(axis=1, keepdims=True)


def intended(config: PartitionConfig, *, peers: int, categories: int, seed: int) -> F64:
    """`(N, C)`: the shares that a kind other than "length" aims at, before rounding to whole windows."""
    first = np.arange(peers) % categories
    match config.kind:
        case "exclusive":
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
    """Read in the code that was published with Wagner et al. (2024), its first commit.

    For Multi-Wiki the second category was computed as (20 + (i + 1) mod 20) mod 3, which is i mod 3 again; for
    Codes-Wiki the number of peers was asked for its parity where the peer's own was meant.
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
            return mixed(0 * first, 0 * first + 1, config.major, categories)


def _whole_windows(config: PartitionConfig, window_tokens: int) -> tuple[int, ...]:
    counts: list[int] = []
    for split, fewest in _FEWEST_WINDOWS.items():
        tokens: int = getattr(config, f"{split}_tokens")
        counts.append(tokens // window_tokens)
        if counts[-1] < fewest:
            bound = f"at least {fewest * window_tokens}, {fewest} windows of {window_tokens}"
            raise UserMistake(f"{split}_tokens must be {bound}, got {tokens}")
    return tuple(counts)


def _tokens(
    config: PartitionConfig,
    windows_S: tuple[int, ...],
    window_tokens: int,
    peers: int,
    categories: int,
    seed: int,
) -> I64:
    """`(N, S, C)`: tokens in whole windows, which sum to each split's budget and keep to the shares."""
    shares_NC = intended(config, peers=peers, categories=categories, seed=seed)
    counts = [[apportioned(shares_C, windows) for windows in windows_S] for shares_C in shares_NC]
    return np.array(counts, np.int64) * window_tokens


def _dealt(categories: Sequence[Category], tokens_NSC: I64, seed: int) -> list[list[list[CategoryTokens]]]:
    needed_C: list[int] = tokens_NSC.sum(axis=(0, 1)).tolist()
    stocks = category_stocks(categories, needed_C, seed)

    def taken(tokens_C: I64) -> list[CategoryTokens]:
        return [
            part for stock, tokens in zip(stocks, tokens_C, strict=True) for part in stock.take(int(tokens))
        ]

    return [[taken(tokens_C) for tokens_C in tokens_SC] for tokens_SC in tokens_NSC]


def _share(
    parts_S: list[list[CategoryTokens]], categories: int, window_tokens: int, parts: tuple[int, int]
) -> Share:
    windows: list[Windows] = []
    for split, taken in zip(_FEWEST_WINDOWS, parts_S, strict=True):
        windows_WT = cut(np.concatenate([part.tokens for part in taken]), window_tokens)
        windows.append(windows_WT[permutation(LABEL, ("windows", *parts, split), len(windows_WT))])
    tokens_C = np.zeros(categories, np.int64)
    for part in parts_S[0]:
        tokens_C[part.category] += len(part.tokens)
    return Share(Splits(*windows), tokens_C)
