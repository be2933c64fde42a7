"""Whether the files of a model or an adapter are what their names say, before anything reads them. No torch.

A folder that was copied without git-lfs, a download that was cut, and a model that is stored in a form that needs a
library of its own are common, and each shows in the first bytes of a file. `run`, `eval`, `chat` and `doctor` refuse
them here, with one line.
"""

from __future__ import annotations

import importlib.util
import json
import struct
from pathlib import Path
from typing import Final, cast

from trust.errors import UserMistake

_LFS_START: Final = b"version https://git-lfs.github.com/spec/"
_LFS_MAX_BYTES: Final = 1024
_INDEX: Final = "model.safetensors.index.json"
_LIBRARIES: Final[dict[str, tuple[str, ...]]] = {
    "bitsandbytes": ("bitsandbytes",),
    "bitsandbytes_4bit": ("bitsandbytes",),
    "bitsandbytes_8bit": ("bitsandbytes",),
    "gptq": ("gptqmodel", "auto_gptq"),
    "awq": ("gptqmodel", "awq"),
    "auto-round": ("auto_round",),
    "aqlm": ("aqlm",),
    "quanto": ("optimum.quanto",),
    "eetq": ("eetq",),
    "hqq": ("hqq",),
    "compressed-tensors": ("compressed_tensors",),
    "fbgemm_fp8": ("fbgemm_gpu",),
    "torchao": ("torchao",),
    "higgs": ("flute",),
    "spqr": ("spqr_quant",),
    "vptq": ("vptq",),
    "quark": ("quark",),
    "fp_quant": ("fp_quant",),
    "sinq": ("sinq",),
}
"""Value of `quant_method` in a config.json -> modules of which one must be installed. Other methods are left to
transformers, which either needs nothing for them or says what."""


def check_model_folder(folder: Path, key: str) -> None:
    """Raises `UserMistake` for a model folder that cannot be loaded, naming the file. `key` is the setting or flag
    that named the folder."""
    if not (folder / "config.json").is_file():
        raise UserMistake(f"{key}: {folder} holds no config.json, so it is no model folder")
    if not any(path.is_file() for path in folder.glob("*.safetensors")):
        raise UserMistake(f"{key}: {folder} holds no weights (*.safetensors)")
    if not any(folder.glob("tokenizer*")) and not any(folder.glob("vocab*")):
        raise UserMistake(f"{key}: {folder} holds no tokenizer (tokenizer.json)")
    check_files(folder, key)
    _check_shards(folder, key)
    check_quantisation(read_config(folder / "config.json", key), str(folder), key)


def check_files(folder: Path, key: str) -> None:
    """Raises `UserMistake` for a git-lfs pointer in place of a file, an empty file, and weights that are cut."""
    for path in sorted(folder.iterdir()):
        if not path.is_file():
            if path.is_symlink():
                raise UserMistake(
                    f"{key}: {path} is a link to a file that is not there; download the model again"
                )
            continue
        try:
            wrong = _wrong_with(path)
        except OSError as error:
            raise UserMistake(f"{key}: {path} cannot be read: {error.strerror}") from None
        if wrong:
            raise UserMistake(f"{key}: {path} {wrong}")


def check_quantisation(config: dict[str, object], source: str, key: str) -> None:
    """Raises `UserMistake` where the weights are quantised by a library that is not installed."""
    found = config.get("quantization_config")
    if not isinstance(found, dict):
        return
    method = str(cast("dict[str, object]", found).get("quant_method") or "bitsandbytes").lower()
    modules = _LIBRARIES.get(method, ())
    if modules and not any(map(_is_installed, modules)):
        library = modules[0].replace("_", "-").replace(".", "-")
        raise UserMistake(
            f"{key}: the weights of {source} are quantised ({method}), and {library} is not installed: "
            f"pip install {library}, or take the unquantised model"
        )


def _wrong_with(path: Path) -> str:
    """What is wrong with a file, empty for nothing."""
    size = path.stat().st_size
    needed = path.suffix in (".safetensors", ".json", ".model", ".txt", ".jinja")
    if size == 0:
        return "is empty; download it again" if needed and path.suffix != ".txt" else ""
    if size <= _LFS_MAX_BYTES:
        with path.open("rb") as file:
            if file.read(len(_LFS_START)) == _LFS_START:
                return "is a git-lfs pointer, not the file itself: run git lfs pull in its folder"
    return _wrong_with_tensors(path, size) if path.suffix == ".safetensors" else ""


def _wrong_with_tensors(path: Path, size: int) -> str:
    """By the format's head: u64 length | JSON of that length, with the offsets of each tensor | the tensors."""
    cut = "is cut or damaged; download it again"
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8 or (length := struct.unpack("<Q", start)[0]) > size - 8:
            return cut
        try:
            head: object = json.loads(file.read(length))
        except ValueError:
            return cut
    if not isinstance(head, dict):
        return cut
    end = 0
    for name, tensor in cast("dict[str, object]", head).items():
        if name == "__metadata__":
            continue
        match tensor:
            case {"data_offsets": [int(), int(last)]}:
                end = max(end, last)
            case _:
                return cut
    if size < 8 + length + end:
        return f"is cut: {size:,} of {8 + length + end:,} bytes; download it again"
    return ""


def _check_shards(folder: Path, key: str) -> None:
    index = folder / _INDEX
    if not index.is_file():
        return
    shards = read_config(index, key).get("weight_map")
    listed = list(cast("dict[str, object]", shards).values()) if isinstance(shards, dict) else []
    names = {one for one in listed if isinstance(one, str)}
    if not names or len(names) < len(set(map(str, listed))):
        raise UserMistake(f"{key}: {index} lists no files")
    for name in sorted(names):
        if not (folder / name).is_file():
            raise UserMistake(f"{key}: {folder} lacks {name}, which {_INDEX} lists; download it again")


def read_config(path: Path, key: str) -> dict[str, object]:
    """The JSON object in a file. Raises `UserMistake` where there is none."""
    try:
        found: object = json.loads(path.read_bytes())
    except OSError as error:
        raise UserMistake(f"{key}: {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise UserMistake(f"{key}: {path} is damaged: it is no JSON") from None
    if not isinstance(found, dict):
        raise UserMistake(f"{key}: {path} is damaged: it is no JSON object")
    return cast("dict[str, object]", found)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False
