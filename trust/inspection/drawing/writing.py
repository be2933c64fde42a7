"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from trust.errors import UserMistake


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Beside its place first, then there, so that a full disk leaves what was. Raises `UserMistake`."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with fresh.open("xb") as file:
                write(file)
            fresh.replace(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserMistake(f"{path} cannot be written: {error.strerror or error}") from None
