"""Memory that goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FREED = """
import sys
from pathlib import Path
import numpy as np
from gossipllm.model.heap import release_tensors_at_once

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

if sys.argv[1] != "0":
    release_tensors_at_once(int(sys.argv[1]))
# glibc takes the size of what was freed for one that comes and goes, and keeps all smaller memory from then on.
np.ones(30 * 2**20, np.uint8)
before = resident_mb()
tensors, small = [], []
for _ in range(32):
    tensors.append(np.ones(2 * 2**20, np.uint8))
    small.append(np.ones(2**15, np.uint8))
tensors.clear()
print(resident_mb() - before)
"""


def kept_mb(from_bytes: int) -> float:
    """Megabytes that stay resident after 64 were freed, in a process of its own."""
    command = [sys.executable, "-c", FREED, str(from_bytes)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_large_tensors_go_back_to_the_system_although_smaller_memory_lies_between_them() -> None:
    assert kept_mb(0) > 50, "by itself glibc keeps it"
    assert kept_mb(2**20) < 10
