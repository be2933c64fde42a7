"""Returning freed memory to the operating system. Only glibc has these calls and needs them.

For devices with little memory: glibc keeps freed memory that lies between allocations that are still in use, so that a
process can hold far more than it uses.
"""

from __future__ import annotations

import ctypes
from typing import Final

_MMAP_THRESHOLD: Final = -3
"""glibc's M_MMAP_THRESHOLD."""
LARGE_BYTES: Final = 2**20
"""Least size that returns at once in every learner. Steps of the embedded model and of 30 and 135 million weights took
1.02 to 1.03, 1.01 and 1.00 times as long as with glibc's own settings; the embedded model's learner 428 MB, not 491."""
SMALL_BYTES: Final = 65_536
"""Least size that returns at once where memory is bounded. Guess: small beside a model, large beside a page."""


def release_freed_memory() -> None:
    """Return all freed memory to the system.

    By itself glibc keeps freed memory below an allocation that is still in use, as packed weights lie above the wide
    weights that they were made from: a Llama of 350 MB, packed to 110 MB, kept 350 MB resident.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def release_tensors_at_once(from_bytes: int) -> None:
    """From this call on, return the memory of tensors of at least `from_bytes` to the system as soon as they are freed.

    A training step then uses the memory that is estimated for it; with glibc's own settings it used up to 1.8
    times as much. The price is that the system provides new pages for each tensor: with `SMALL_BYTES`, steps of a Llama
    of width 768 took 1.0 to 2.0 times as long, on a busy machine (a trial by hand).
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, from_bytes)
