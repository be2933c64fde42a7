"""How alike texts are by the tokens that they use, before anything is trained on them.

Axes: N texts, V tokens of the vocabulary.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gossipllm.text.dealing import Tokens

F64 = NDArray[np.float64]

_PIECE = 256
"""Tokens of a piece when a text is halved: halves of alternate pieces are on the same subjects. Guess."""


def counts(stream: Tokens, vocabulary: int) -> F64:
    """`(V,)`: how often each token occurs."""
    return np.bincount(stream, minlength=vocabulary).astype(np.float64)


def jaccard(counts_NV: F64) -> F64:
    """`(N, N)`: sum of the smaller counts over sum of the larger ones; 1 for the same tokens as often.

    As in Wagner et al. (2024, arXiv 2404.09753), table 3. A text against one of twice its length has at
    most 1/2. Two texts without tokens are alike.
    """
    sums_N = counts_NV.sum(axis=1)
    common_NN = np.stack([np.minimum(counts_V, counts_NV).sum(axis=1) for counts_V in counts_NV])
    either_NN = sums_N[:, None] + sums_N - common_NN
    return np.divide(common_NN, either_NN, out=np.ones_like(common_NN), where=either_NN > 0)


def as_if_equally_long(counts_NV: F64) -> F64:
    """Each text's counts scaled down to the tokens of the shortest."""
    sums_N1 = counts_NV.sum(axis=1, keepdims=True)
    return counts_NV * (sums_N1.min() / np.maximum(sums_N1, 1))


def between_halves(stream: Tokens, vocabulary: int) -> float:
    """`jaccard` of every other piece of a text with the rest of it: about the most that others can reach.

    nan for a text that is too short to be halved.
    """
    pieces = len(stream) // _PIECE // 2 * 2
    if not pieces:
        return float("nan")
    pieces_PT = stream[: pieces * _PIECE].reshape(pieces, _PIECE)
    halves = [counts(pieces_PT[start::2].ravel(), vocabulary) for start in (0, 1)]
    return float(jaccard(np.stack(halves))[0, 1])
