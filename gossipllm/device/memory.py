"""The memory that this process held at most."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory(status: Path = STATUS) -> int:
    """Most bytes of this process that were resident at a time; 0 where the system does not say.

    Not by `getrusage` where Linux says it itself: that count begins with the parent's, as it was at the fork.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
