"""Exporting a whole model as one GGUF file, for llama.cpp and programs that are built on it.

llama.cpp's own converter does it, in a process of its own: installed as a package (the extra [gguf]), or as the script
of a checkout of llama.cpp. It reads a folder that `merged_model` has written.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from trust.errors import UserMistake
from trust.extras import install_command

GGUF_TYPES: Final = ("auto", "f32", "f16", "bf16", "q8_0")
"""Types of weights that the converter writes; llama.cpp's own llama-quantize makes smaller ones of the file."""
_MODULE: Final = "convert_hf_to_gguf"
_MAGIC: Final = b"GGUF"


def converter_command(script: Path | None) -> list[str]:
    """How to start llama.cpp's converter: `script`, or the installed package. Raises `UserMistake` where there is
    neither."""
    if script is not None:
        if not script.is_file():
            raise UserMistake(f"--converter: there is no file {script}")
        return [sys.executable, str(script)]
    if importlib.util.find_spec(_MODULE) is None:
        raise UserMistake(
            f"--gguf needs llama.cpp's converter: {install_command('gguf')}, or name the script of a checkout with "
            f"--converter llama.cpp/{_MODULE}.py"
        )
    return [sys.executable, "-m", _MODULE]


def export_gguf(
    write: Callable[[Path], object], out: Path, *, kind: str, script: Path | None, overwrite: bool = False
) -> None:
    """Write the file `out`. `write` writes a whole model in transformers' format into a folder, which is made beside
    `out` and removed afterwards. `kind` is one of `GGUF_TYPES`.

    Raises `UserMistake` where there is no converter, it refuses the model, or `out` exists and `overwrite` is not set.
    """
    command = converter_command(script)
    if out.is_dir() or (out.exists() and not overwrite):
        raise UserMistake(f"{out} exists already; choose another file, or write over it with --force")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as place:
        folder, made = Path(place, "model"), Path(place, "model.gguf")
        write(folder)
        done = subprocess.run(
            [*command, str(folder), "--outfile", str(made), "--outtype", kind],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode or not made.is_file() or _head(made) != _MAGIC:
            raise UserMistake(f"--gguf: llama.cpp's converter refused the model: {_reason(done.stderr)}")
        made.replace(out)


def _reason(log: str) -> str:
    """The last line of the converter's log that names an error, else its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    named = [line for line in lines if "Error" in line or "ERROR" in line]
    return (named or lines or ["it said nothing"])[-1][:300]


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(len(_MAGIC))
