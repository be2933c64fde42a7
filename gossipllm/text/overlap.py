"""How far texts overlap in the tokens that they use, measured before anything is trained on them.

Axes: N texts, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gossipllm.text.dealing.categories import Tokens

F64 = NDArray[np.float64]

_PIECE = 256
"""Tokens of a piece when a text is halved: halves of alternate pieces are on the same subjects. Guess."""


def counts(stream: Tokens, vocabulary: int) -> F64:
    """`(V,)`: how often each token occurs."""
    return np.bincount(stream, minlength=vocabulary).astype(np.float64)


def jaccard(counts_NV: F64) -> F64:
    """Jaccard index of every two texts as multisets of tokens, `(N, N)`: `|A and B| / |A or B|`, in [0, 1].

    The sum of the smaller counts over the sum of the larger ones; 1 for the same tokens equally often. A text
    and another of twice its length have at most 1/2. Two texts without tokens have 1. Wagner et al. (2024)
    divide by something else: `published_overlap`.
    """
    common_NN = _in_common(counts_NV)
    sums_N = counts_NV.sum(axis=1)
    either_NN = sums_N[:, None] + sums_N - common_NN
    return np.divide(common_NN, either_NN, out=np.ones_like(common_NN), where=either_NN > 0)


def published_overlap(counts_NV: F64) -> F64:
    """`|A and B| / (|A| + |B|)` of every two texts as multisets of tokens, `(N, N)`, in [0, 1/2].

    The "Jaccard index" of Wagner et al. (2024, arXiv 2404.09753), table 3, for comparison with their figures
    (0.45 to 0.47 within a language, 0.19 to 0.24 across). What both texts have is counted twice below the line,
    so a text and itself have 1/2. With J the ordinary index it is J / (1 + J), so both order texts alike. Two
    texts without tokens have 1/2.
    """
    common_NN = _in_common(counts_NV)
    sums_N = counts_NV.sum(axis=1)
    both_NN = sums_N[:, None] + sums_N
    return np.divide(common_NN, both_NN, out=np.full_like(common_NN, 0.5), where=both_NN > 0)


def as_if_equally_long(counts_NV: F64) -> F64:
    """Each text's counts scaled down to the tokens of the shortest."""
    sums_N1 = counts_NV.sum(axis=1, keepdims=True)
    return counts_NV * (sums_N1.min() / np.maximum(sums_N1, 1))


def between_halves(stream: Tokens, vocabulary: int, measure: Callable[[F64], F64] = jaccard) -> float:
    """`measure` between the two halves of a text: about the most that another text of its kind can reach.

    A half takes every other piece of the text. nan for a text that is too short to be halved.
    """
    pieces = len(stream) // _PIECE // 2 * 2
    if not pieces:
        return float("nan")
    pieces_PT = stream[: pieces * _PIECE].reshape(pieces, _PIECE)
    halves = [counts(pieces_PT[start::2].ravel(), vocabulary) for start in (0, 1)]
    return float(measure(np.stack(halves))[0, 1])


def _in_common(counts_NV: F64) -> F64:
    """`|A and B|` of every two texts: the sum over tokens of the smaller count."""
    return np.stack([np.minimum(counts_V, counts_NV).sum(axis=1) for counts_V in counts_NV])
