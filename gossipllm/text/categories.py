"""Pieces of text dealt out in a random order, each once: no piece serves two peers, nor two splits of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gossipllm.randomness import permutation
from trust.errors import UserMistake

Tokens = NDArray[np.int32]

LABEL: Final = "gossipllm/partition/1"


@dataclass(frozen=True, slots=True, eq=False)
class Category:
    """One kind of text, in pieces that are dealt whole."""

    name: str
    pieces: tuple[Tokens, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CategoryTokens:
    """Tokens of one category."""

    category: int
    tokens: Tokens


class Stock:
    """Pieces to take from, in order. `needed` tokens are going to be taken in all; for the complaint."""

    def __init__(self, name: str, parts: Sequence[CategoryTokens], needed: int) -> None:
        self._name = name
        self._parts = parts
        self._needed = needed
        self._next = 0

    def take(self, tokens: int) -> list[CategoryTokens]:
        """Exactly so many, in pieces that nobody had; the rest of the last one is given to nobody."""
        taken: list[CategoryTokens] = []
        while tokens > 0:
            if self._next == len(self._parts):
                raise self._too_little()
            part = self._parts[self._next]
            self._next += 1
            taken.append(CategoryTokens(part.category, part.tokens[:tokens]))
            tokens -= len(taken[-1].tokens)
        return taken

    def _too_little(self) -> UserMistake:
        held = sum(len(part.tokens) for part in self._parts)
        return UserMistake(
            f"{self._name} holds {held:,} tokens in {len(self._parts):,} pieces, but {self._needed:,} are needed, "
            f"and no piece serves two peers or two splits; add text, or lower the tokens of a peer"
        )


def category_stocks(categories: Sequence[Category], needed_C: Sequence[int], seed: int) -> list[Stock]:
    """A stock of each category, shuffled."""
    stocks: list[Stock] = []
    for number, (category, needed) in enumerate(zip(categories, needed_C, strict=True)):
        order = permutation(LABEL, (seed, "category", number), len(category.pieces))
        parts = [CategoryTokens(number, category.pieces[int(i)]) for i in order]
        stocks.append(Stock(f'category "{category.name}"', parts, needed))
    return stocks


def length_stocks(categories: Sequence[Category], peers: int, needed: int, seed: int) -> list[Stock]:
    """Pieces of all categories by length in `peers` bands of about the same number of tokens, each shuffled.

    Stock 0 has the shortest. Where pieces of one length must part, chance decides which goes where.
    """
    parts = [CategoryTokens(c, piece) for c, category in enumerate(categories) for piece in category.pieces]
    lengths = np.array([len(part.tokens) for part in parts], np.int64)
    shuffled = permutation(LABEL, (seed, "lengths"), len(parts))
    order = shuffled[np.argsort(lengths[shuffled], kind="stable")]
    # A piece belongs where its middle lies among all tokens. Doubled, so that middles are whole numbers.
    ends = 2 * np.cumsum(lengths[order])
    bands = (ends - lengths[order]) * peers // max(1, int(2 * lengths.sum()))
    stocks: list[Stock] = []
    for peer in range(peers):
        members = order[bands == peer]
        mixed = members[permutation(LABEL, (seed, "band", peer), len(members))]
        stocks.append(Stock(f"length band {peer + 1} of {peers}", [parts[int(i)] for i in mixed], needed))
    return stocks
