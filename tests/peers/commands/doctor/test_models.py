"""The embedded base, the hub's cache and a home's model, whole and otherwise."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from gossipllm.base import MODELS, model_folder
from gossipllm.config import ModelConfig
from gossipllm.model.loading.models import load_base
from peers.commands.doctor import models
from trust.errors import UserMistake


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The embedded base in a place where it may be damaged."""
    folder = tmp_path / "model"
    shutil.copytree(model_folder(), folder)
    monkeypatch.setattr(models, "MODELS", {"embedded": "model"})

    def its_folder(_name: str) -> Path:
        return folder

    monkeypatch.setattr(models, "model_folder", its_folder)
    return folder


def test_the_embedded_bases_are_whole() -> None:
    (found,) = models.embedded_bases()

    assert found.level == "ok"
    assert found.value.startswith(f"{len(MODELS)}, whole")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_file_of_it_is_named(name: str, damage: str, copy: Path) -> None:
    file = copy / name
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        file.unlink()

    (found,) = models.embedded_bases()

    assert found.level == "fail"
    assert found.value.startswith("embedded: ")
    assert name in found.value


def test_a_changed_byte_shows_where_pip_noted_hashes(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = copy / "model.safetensors"
    digest = base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).rstrip(b"=").decode()

    class Noted:
        name = file.name
        hash = SimpleNamespace(mode="sha256", value=digest)

        def __str__(self) -> str:
            return f"gossipllm/base/model/{self.name}"

    def files(_: str) -> list[Noted]:
        return [Noted()]

    monkeypatch.setattr(importlib.metadata, "files", files)
    (whole,) = models.embedded_bases()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    (changed,) = models.embedded_bases()

    assert whole.level == "ok"
    assert (changed.level, changed.value) == ("fail", "embedded: model.safetensors is not what was installed")


def test_the_cache_is_counted_without_following_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blob").write_bytes(b"x" * 2_000_000)
    (tmp_path / "link").symlink_to(tmp_path / "blob")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))

    (found,) = models.hub_cache()

    assert found.value.startswith("2.0 MB in ")
    assert "HF_HUB_CACHE" in found.value


def test_a_home_s_model_is_a_folder_in_the_cache_or_still_to_fetch(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cached(name: str, file: str) -> Any:
        return {"here/it-is": str(copy / file), "here/in-part": str(tmp_path / file)}.get(name)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)

    def level(name: str) -> list[str]:
        return [one.level for one in models.named(name)]

    assert level("embedded") == []
    assert level(str(copy)) == level("here/it-is") == ["ok"]
    assert level("/not/there") == ["fail"]
    assert level("some/where") == level("here/in-part") == ["warn"]


@pytest.mark.parametrize("name", MODELS)
def test_an_embedded_model_of_a_home_needs_no_line_of_its_own(name: str) -> None:
    assert list(models.named(name)) == []


def test_what_run_refuses_of_a_model_folder_fails_here_with_the_same_line(copy: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n")
    with pytest.raises(UserMistake) as refused:
        load_base(ModelConfig(name=str(copy)))

    (found,) = models.named(str(copy))

    assert (found.level, found.value) == ("fail", str(refused.value))


@pytest.mark.parametrize("name", ["a/b/c", "my model", "a--b"])
def test_what_is_no_name_of_the_hub_fails(name: str) -> None:
    (found,) = models.named(name)

    assert found.level == "fail"
    assert "neither a folder here nor a name of the hub" in found.value


def test_what_would_have_to_be_fetched_fails_where_the_hub_is_not_to_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    (found,) = models.named("some/where")

    assert found.level == "fail"
    assert "HF_HUB_OFFLINE" in found.cure
