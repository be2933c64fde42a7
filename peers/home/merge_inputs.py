"""The inputs of a home's last merge, in a file, for commands that explain a trust row or measure neighbours.

The file is `company` in the state folder. It holds the adapter of this peer and an update of each neighbour that took
part, in the form of `sealed.py`, so that it can be read at any moment while the peer runs. The peer itself never reads
it, so a damaged file is treated as missing. Large contents are in files of their own (`contents.py`), that of this
peer's adapter a link to the state's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from peers.core.merge_inputs import KEPT_VERSION, MergeInputs
from peers.home.contents import STATE_FILES, Contents
from peers.home.sealed import DamagedError, read_sealed, refused, sealed, write_sealed
from trust.files import flush_folder

MERGE_INPUTS_FILE: Final = "company"
_MAGIC: Final = b"GLCOMPN1"
"""Of a file that holds all contents, as earlier versions wrote it."""
_APART: Final = b"GLCOMPN2"
"""Of a file whose large contents are beside it."""


def contents_of_inputs(folder: Path) -> Contents:
    """The large contents of merge inputs."""
    return Contents(folder, MERGE_INPUTS_FILE, others=STATE_FILES)


def write_merge_inputs(folder: Path, inputs: MergeInputs, contents: Contents | None = None) -> None:
    """Replace the file. `contents` are those that this process keeps from one call to the next. Raises `OSError` that
    says how much space is missing; the earlier file is then unchanged."""
    contents = contents or contents_of_inputs(folder)
    pieces, large = sealed(inputs, _APART)
    try:
        contents.write(large)
        write_sealed(folder / MERGE_INPUTS_FILE, pieces)
        flush_folder(folder)
    except OSError as error:
        raise refused(error, [*pieces, *(one.data for one in large)], folder) from error
    contents.keep_only(one.digest for one in large)


def forget_merge_inputs(folder: Path) -> None:
    """Raises `OSError`."""
    (folder / MERGE_INPUTS_FILE).unlink(missing_ok=True)
    contents_of_inputs(folder).keep_only(())


def read_merge_inputs(folder: Path) -> MergeInputs | None:
    """None where there is none, it is damaged, or another version wrote it."""
    try:
        inputs: MergeInputs = read_sealed(
            folder / MERGE_INPUTS_FILE,
            _MAGIC,
            MergeInputs,
            apart=_APART,
            contents_beside=contents_of_inputs(folder),
        )
    except (OSError, DamagedError):
        return None
    return inputs if inputs.version == KEPT_VERSION else None
