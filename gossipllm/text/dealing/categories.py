"""Categories of text in pieces, dealt in random order: no piece serves two peers, or two splits of one peer."""

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
    """One kind of text, as a language or a topic, in pieces that are dealt whole."""

    name: str
    pieces: tuple[Tokens, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CategoryTokens:
    """A piece, or the beginning of one, and the index of its category."""

    category: int
    tokens: Tokens


class Stock:
    """Pieces that are taken in order, each once. `needed` is how many tokens will be taken in all, for the message
    where they do not suffice."""

    def __init__(self, name: str, parts: Sequence[CategoryTokens], needed: int) -> None:
        self._name = name
        self._parts = parts
        self._needed = needed
        self._next = 0

    def take(self, tokens: int) -> list[CategoryTokens]:
        """Exactly `tokens` tokens in pieces that were not taken yet; the rest of the last piece is lost.

        Raises `UserMistake` where too few are left.
        """
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
    """The pieces of each category, shuffled by the seed."""
    stocks: list[Stock] = []
    for number, (category, needed) in enumerate(zip(categories, needed_C, strict=True)):
        order = permutation(LABEL, (seed, "category", number), len(category.pieces))
        parts = [CategoryTokens(number, category.pieces[int(i)]) for i in order]
        stocks.append(Stock(f'category "{category.name}"', parts, needed))
    return stocks


def length_stocks(categories: Sequence[Category], peers: int, needed: int, seed: int) -> list[Stock]:
    """Pieces of all categories sorted by length into `peers` bands of about equally many tokens, each shuffled.

    The first band has the shortest pieces. Pieces of equal length on both sides of a border are divided at random.
    """
    parts = [CategoryTokens(c, piece) for c, category in enumerate(categories) for piece in category.pieces]
    lengths = np.array([len(part.tokens) for part in parts], np.int64)
    shuffled = permutation(LABEL, (seed, "lengths"), len(parts))
    order = shuffled[np.argsort(lengths[shuffled], kind="stable")]
    # A piece belongs to the band in which its middle token lies. Positions are doubled, so that middles are integers.
    ends = 2 * np.cumsum(lengths[order])
    bands = (ends - lengths[order]) * peers // max(1, int(2 * lengths.sum()))
    stocks: list[Stock] = []
    for peer in range(peers):
        members = order[bands == peer]
        mixed = members[permutation(LABEL, (seed, "band", peer), len(members))]
        stocks.append(Stock(f"length band {peer + 1} of {peers}", [parts[int(i)] for i in mixed], needed))
    return stocks
