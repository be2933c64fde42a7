"""The inputs of a home's last merge, in a file, for commands that explain a trust row or measure neighbours.

The file is `company` in the state folder. It holds the adapter of this peer and an update of each neighbour that took
part, in the form of `sealed.py`, so that it can be read at any moment while the peer runs. The peer itself never reads
it, so a damaged file is treated as missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from peers.core.merge_inputs import KEPT_VERSION, MergeInputs
from peers.home.sealed import DamagedError, read_sealed, refused, sealed, write_sealed
from trust.files import flush_folder

MERGE_INPUTS_FILE: Final = "company"
_MAGIC: Final = b"GLCOMPN1"


def write_merge_inputs(folder: Path, inputs: MergeInputs) -> None:
    """Replace the file. Raises `OSError` that says how much space is missing; the earlier file is then unchanged."""
    pieces = sealed(inputs, _MAGIC)
    try:
        write_sealed(folder / MERGE_INPUTS_FILE, pieces)
        flush_folder(folder)
    except OSError as error:
        raise refused(error, pieces, folder) from error


def forget_merge_inputs(folder: Path) -> None:
    """Raises `OSError`."""
    (folder / MERGE_INPUTS_FILE).unlink(missing_ok=True)


def read_merge_inputs(folder: Path) -> MergeInputs | None:
    """None where there is none, it is damaged, or another version wrote it."""
    try:
        inputs: MergeInputs = read_sealed(folder / MERGE_INPUTS_FILE, _MAGIC, MergeInputs)
    except (OSError, DamagedError):
        return None
    return inputs if inputs.version == KEPT_VERSION else None
