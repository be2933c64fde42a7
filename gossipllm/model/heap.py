"""What the C library keeps of memory that was freed. glibc only: others have no such calls, and need none.

For a device where memory is short: a heap with holes between what is kept holds far more than is in use.
"""

from __future__ import annotations

import ctypes
from typing import Final

_MMAP_THRESHOLD: Final = -3
"""glibc's M_MMAP_THRESHOLD."""
_LARGE_BYTES: Final = 65_536
"""Of a tensor that gets pages of its own. Guess: small beside a model, large beside a page."""


def hand_back() -> None:
    """Let the system have what was freed. glibc keeps it where something smaller lies behind it, as packed weights do
    behind the wide ones that they were made from: of a Llama of 350 MB, packed to 110, 350 stayed resident."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def hand_back_at_once() -> None:
    """From now on let the system have large tensors as soon as they are freed. What a training step holds is then what
    `learning.windows` estimates, where with glibc's own settings it was up to 1.8 times that. Pages are made anew for
    each tensor: steps of a Llama of width 768 took 1.0 to 2.0 times as long, on a busy machine (a trial by
    hand)."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, _LARGE_BYTES)
