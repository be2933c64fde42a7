"""The random base of the demo's peers, made by the command that makes anybody's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from trust.errors import UserMistake


def make_base(preset: str, folder: Path) -> None:
    """In a process of its own, because it loads torch and this one does not. Raises `UserMistake`."""
    command = [sys.executable, "-m", "gossipllm.cli", "new-base", preset, "-o", str(folder)]
    done = subprocess.run(
        [*command, "--tokenizer", "embedded-1024"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise UserMistake(f"the base could not be made: {why}")
