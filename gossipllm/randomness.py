"""Random draws that are equal on every machine and with every version of numpy and torch.

Peers must start from the same matrix without exchanging it, and a peer that upgrades a library must not find its test
windows among its training windows. Neither numpy nor torch promises equal streams across versions, so all draws that
outlive a process come from SHAKE-256 (FIPS 202) over a label and the parts that identify the draw, read as
little-endian 32-bit integers.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def words(label: str, parts: tuple[str | int, ...], count: int) -> NDArray[np.uint32]:
    """`count` uniform 32-bit integers; another list of parts gives another stream."""
    shake = hashlib.shake_256()
    for part in (label, *map(str, parts)):
        data = part.encode()
        shake.update(len(data).to_bytes(8, "little"))
        shake.update(data)
    return np.frombuffer(shake.digest(4 * count), "<u4")


def symmetric(label: str, parts: tuple[str | int, ...], count: int) -> NDArray[np.float64]:
    """`count` uniform numbers in (-1, 1), ends excluded: the middles of 2^32 equal cells."""
    return (words(label, parts, count).astype(np.float64) + 0.5) * 2.0**-31 - 1.0


def permutation(label: str, parts: tuple[str | int, ...], count: int) -> NDArray[np.int64]:
    """A random order of `0 .. count-1`, sorted by 64-bit keys, among which ties are improbable."""
    keys = words(label, parts, 2 * count).astype(np.uint64)
    return np.argsort((keys[0::2] << np.uint64(32)) | keys[1::2], kind="stable")
