"""What a home keeps of its last merge: one file, read by whoever asks why a row was what it was.

`company` in the state folder, in the form of `sealed.py`, which also makes it readable at any moment while the peer
runs. It holds an adapter of this peer and an update of each neighbour that took part. Whatever is wrong with it, it
is as if it were not there: nothing depends on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from peers.core.merge_inputs import KEPT_VERSION, MergeInputs
from peers.home.sealed import DamagedError, read_sealed, refused, sealed, write_sealed
from trust.files import flush_folder

COMPANY_FILE: Final = "company"
_MAGIC: Final = b"GLCOMPN1"


def write_company(folder: Path, company: MergeInputs) -> None:
    """In place of the last one. Raises `OSError` that says what is missing, and leaves the last one as it was."""
    pieces = sealed(company, _MAGIC)
    try:
        write_sealed(folder / COMPANY_FILE, pieces)
        flush_folder(folder)
    except OSError as error:
        raise refused(error, pieces, folder) from error


def forget_company(folder: Path) -> None:
    """Raises `OSError`."""
    (folder / COMPANY_FILE).unlink(missing_ok=True)


def read_company(folder: Path) -> MergeInputs | None:
    """None where there is none, it is damaged, or another version wrote it."""
    try:
        company: MergeInputs = read_sealed(folder / COMPANY_FILE, _MAGIC, MergeInputs)
    except (OSError, DamagedError):
        return None
    return company if company.version == KEPT_VERSION else None
