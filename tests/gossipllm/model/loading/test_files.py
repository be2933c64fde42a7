"""Files of models that are not what their names say are refused by one line that names them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gossipllm.model.loading.files import check_files, check_model_folder, check_quantisation
from trust.errors import UserMistake

Folder = Callable[[str], Path]

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab\nsize 269060552\n"


@pytest.fixture
def copy(model_folder: Folder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder("llama"), tmp_path / "model"))


def refusal(folder: Path) -> str:
    with pytest.raises(UserMistake) as caught:
        check_model_folder(folder, "model.name")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_whole_model_passes(copy: Path) -> None:
    check_model_folder(copy, "model.name")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_git_lfs_pointer_in_place_of_any_file_is_named(copy: Path, name: str) -> None:
    (copy / name).write_bytes(POINTER)

    assert refusal(copy).startswith(f"model.name: {copy / name} is a git-lfs pointer, not the file itself")


def test_a_folder_in_place_of_the_weights_is_no_file_of_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors").mkdir()
    assert "holds no weights" in refusal(copy)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_an_empty_file_is_named(copy: Path, name: str) -> None:
    (copy / name).write_bytes(b"")

    assert refusal(copy) == f"model.name: {copy / name} is empty; download it again"


@pytest.mark.parametrize("part", [4, 40, -1])
def test_weights_that_are_cut_anywhere_are_named(copy: Path, part: int) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:part])

    assert refusal(copy).startswith(f"model.name: {weights} is cut")


@pytest.mark.parametrize("at", [0, 8, 9, 30])
def test_a_damaged_head_of_weights_is_named(copy: Path, at: int) -> None:
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[at] = 0xFF
    weights.write_bytes(data)

    assert refusal(copy).startswith(f"model.name: {weights} is cut or damaged")


def test_a_missing_shard_is_named(copy: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))

    assert "lacks model-00002-of-00002.safetensors" in refusal(copy)


def test_a_link_to_nowhere_is_named(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "other.safetensors")
    (copy / "model.safetensors").symlink_to(copy / "gone")

    assert "is a link to a file that is not there" in refusal(copy)


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "awq", "aqlm", "eetq", "hqq"])
def test_quantised_weights_without_their_library_say_which_one(copy: Path, method: str) -> None:
    settings = json.loads((copy / "config.json").read_text())
    settings["quantization_config"] = {"quant_method": method, "bits": 4}
    (copy / "config.json").write_text(json.dumps(settings))

    why = refusal(copy)

    assert f"are quantised ({method})" in why
    assert "pip install " in why
    assert why.endswith("or take the unquantised model")


def test_bitsandbytes_before_it_named_its_method_is_known() -> None:
    with pytest.raises(UserMistake, match="pip install bitsandbytes"):
        check_quantisation({"quantization_config": {"load_in_4bit": True}}, "m", "model.name")


def test_the_files_of_an_adapter_are_checked_alike(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(POINTER)

    with pytest.raises(UserMistake, match=r"--adapter: .* is a git-lfs pointer"):
        check_files(tmp_path, "--adapter")
