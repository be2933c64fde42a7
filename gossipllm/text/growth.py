"""Text that grows: documents that come later are dealt by themselves, and nothing that was dealt before moves.

The ledger says which documents were dealt together, as a batch: a digest of each one's tokens, with their number, in
order, and which windows bore no loss and were left out. The first batch is all the text that there was when a peer
began, dealt as `windows.split` deals it. Documents that are in no batch make the next one, whose windows go to the
splits by lot. So a window stays in its split whatever is added, renamed or moved between files.

A document that was removed or changed leaves a gap: the windows that hold a part of it are dropped, all others stay. A
changed document is a new one, so the part of it that is as before may be in another split from then on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from gossipllm.config import DataConfig
from gossipllm.randomness import words
from gossipllm.text.reading.account import shown
from gossipllm.text.windows import MIN_TEST, MIN_TRUST, Splits, Windows, cut, split, targets
from trust.errors import UserMistake
from wire.digest import Content, digest_of

DIGEST_BYTES: Final = 8
KEPT_GONE: Final = 64
"""Newest batches that are remembered although nothing of them is there. Guess: a file that is put away and back, as on
a disk that is not always plugged in, keeps its splits; a text that changes every day grows the ledger by five bytes a
day."""
_GAP: Final = np.iinfo(np.int32).min
"""Stands in a stream for each token of a document that is no longer there. No window holds it otherwise."""


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Documents that were dealt together: their digests, one after the other, and the tokens of each. `silent` are the
    windows without loss, which were not dealt."""

    digests: bytes
    tokens: tuple[int, ...]
    silent: tuple[int, ...] = ()


class Ledger(msgspec.Struct, frozen=True, array_like=True):
    """All batches, in the order in which they came."""

    batches: tuple[Batch, ...] = ()


def grown_splits(
    documents: Sequence[NDArray[np.int32]],
    before: Content | None,
    config: DataConfig,
    *,
    seed: int,
) -> tuple[Splits, Content]:
    """The splits of a text, and its ledger. `documents` are the tokens of each (`gossipllm.text.tokens`), `before` is
    the last ledger.

    Documents that give less than a window wait for more. Raises `UserMistake` where too little text is left.
    """
    ledger = Ledger() if before is None else msgspec.msgpack.decode(before.data, type=Ledger)
    all_of_it = [(_digest(document), document) for document in documents]
    here = dict(all_of_it)
    left = Counter(digest for digest, _ in all_of_it)
    dealt = [_stream(batch, here, left) for batch in ledger.batches]
    new = [one for one in all_of_it if _taken(one[0], left)]
    count = sum(len(stream) for _, stream in new)
    if not ledger.batches or count >= config.window_tokens:
        stream = np.concatenate([stream for _, stream in new])
        batch = Batch(
            b"".join(digest for digest, _ in new),
            tuple(len(stream) for _, stream in new),
            tuple(np.flatnonzero(targets(cut(stream, config.window_tokens)) == 0).tolist()),
        )
        ledger = Ledger((*_remembered(ledger.batches, dealt), batch))
        dealt.append(stream)
    parts: list[Splits] = []
    for number, (stream, batch) in enumerate(zip(dealt, ledger.batches, strict=True)):
        if not len(stream):
            continue
        windows_WT = np.delete(cut(stream, config.window_tokens), batch.silent, axis=0)
        first = split(windows_WT, config, seed=seed) if not number else None
        parts.append(first or _by_lot(windows_WT, config, (seed, number)))
    splits = Splits(
        train_WT=_whole([one.train_WT for one in parts]),
        trust_WT=_whole([one.trust_WT for one in parts]),
        test_WT=_whole([one.test_WT for one in parts]),
    )
    if len(splits.trust_WT) < MIN_TRUST or len(splits.test_WT) < MIN_TEST or not len(splits.train_WT):
        rest = f"{len(splits.train_WT)} windows are left to train on, {len(splits.trust_WT)} to decide and"
        raise UserMistake(
            f"data.path: too much of {shown(config.path)} was removed or changed: {rest} {len(splits.test_WT)} to "
            f"test. Put the old files back, or begin with a new home: gossipllm init NEW_FOLDER"
        )
    return splits, Content.of(msgspec.msgpack.encode(ledger))


def _digest(document: NDArray[np.int32]) -> bytes:
    return digest_of(np.ascontiguousarray(document, "<i4").tobytes())[:DIGEST_BYTES]


def _stream(batch: Batch, here: Mapping[bytes, NDArray[np.int32]], left: Counter[bytes]) -> NDArray[np.int32]:
    """The batch's tokens, with gaps for documents that are gone; empty where all are. Counts what it takes off
    `left`."""
    pieces: list[NDArray[np.int32] | None] = []
    sizes: list[int] = []
    for place, tokens in enumerate(batch.tokens):
        digest = batch.digests[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES]
        pieces.append(here[digest] if _taken(digest, left) else None)
        sizes.append(tokens)
    if not any(piece is not None for piece in pieces):
        return np.empty(0, np.int32)
    return np.concatenate(
        [
            np.full(size, _GAP, np.int32) if piece is None else piece
            for piece, size in zip(pieces, sizes, strict=True)
        ]
    )


def _remembered(batches: Sequence[Batch], dealt: Sequence[NDArray[np.int32]]) -> tuple[Batch, ...]:
    """The batches, but nothing of old ones of which nothing is left. Each keeps its number, which deals its windows."""
    newest = len(batches) - KEPT_GONE
    return tuple(
        batch if len(stream) or number >= newest else Batch(b"", ())
        for number, (batch, stream) in enumerate(zip(batches, dealt, strict=True))
    )


def _taken(digest: bytes, left: Counter[bytes]) -> bool:
    """Take one document of this digest off `left`; whether there was one."""
    if not left[digest]:
        return False
    left[digest] -= 1
    return True


def _by_lot(windows_WT: Windows, config: DataConfig, parts: tuple[int, ...]) -> Splits:
    """Each window goes to a split with that split's fraction as its chance: a batch may be a single window."""
    lots_W = words("gossipllm/grown/1", parts, len(windows_WT)) / 2.0**32
    trust_W = lots_W < config.trust_fraction
    test_W = ~trust_W & (lots_W < config.trust_fraction + config.test_fraction)
    return Splits(windows_WT[~trust_W & ~test_W], windows_WT[trust_W], windows_WT[test_W])


def _whole(parts: Sequence[Windows]) -> Windows:
    """The windows of all batches that hold no part of a document that is gone."""
    windows_WT = np.concatenate(parts)
    return windows_WT[(windows_WT != _GAP).all(axis=1)]
