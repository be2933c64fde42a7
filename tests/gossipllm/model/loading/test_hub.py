"""Models by name: the cache first, one question to the hub, and one line where there is no such model."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import httpx
import huggingface_hub
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import OfflineModeIsEnabled

from gossipllm.config import ModelConfig
from gossipllm.model.loading import hub
from gossipllm.model.loading.hub import ask_hub, cached_folder
from gossipllm.model.loading.models import load_base
from support.progress import silent
from trust.errors import UserMistake

Folder = Callable[[str], Path]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    ask_hub.cache_clear()
    yield
    ask_hub.cache_clear()


@pytest.fixture
def cached(model_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds the model "some/one"."""
    folder = Path(shutil.copytree(model_folder("llama"), tmp_path / "snapshot"))

    def found(name: str, file: str) -> str | None:
        return str(folder / file) if name == "some/one" else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", found)
    return folder


def answers(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[str]:
    """The names that the hub is asked for, each answered by this error."""
    asked: list[str] = []

    def model_info(_: HfApi, name: str, **__: Any) -> None:
        asked.append(name)
        raise error

    monkeypatch.setattr(HfApi, "model_info", model_info)
    return asked


def test_a_model_in_the_cache_is_loaded_without_a_question_to_the_hub(
    cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers(monkeypatch, AssertionError("the hub was asked"))

    base = load_base(ModelConfig(name="some/one", device="cpu", threads=1))

    assert base.model.config.name_or_path == str(cached)
    assert asked == []


def test_a_model_that_is_only_in_part_in_the_cache_is_not_taken_from_there(cached: Path) -> None:
    (cached / "model.safetensors").unlink()

    assert cached_folder("some/one") is None


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (httpx.ConnectError("no route to host"), "the hub cannot be reached (no route to host)"),
        (OSError("no name service"), "the hub cannot be reached (no name service)"),
        (OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE forbids to ask the hub"),
    ],
)
def test_a_name_that_is_neither_folder_nor_model_is_one_line_at_once(
    cached: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
) -> None:
    asked = answers(monkeypatch, error)

    with pytest.raises(UserMistake) as caught:
        load_base(ModelConfig(name="nosuchhome"))

    assert '"nosuchhome" is no folder here' in str(caught.value)
    assert why in str(caught.value)
    assert asked == ["nosuchhome"]


def test_a_path_that_is_mistyped_is_no_name(cached: Path) -> None:
    with pytest.raises(UserMistake, match="no name on the hub"):
        ask_hub("homes/of/anna", "model.name")


class File(NamedTuple):
    rfilename: str
    size: int | None


def test_the_bytes_of_a_download_are_those_of_the_files_that_loading_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = [File("model.safetensors", 700), File("config.json", 20), File("pytorch_model.bin", 700)]

    def model_info(*_: Any, **__: Any) -> Any:
        return SimpleNamespace(siblings=files)

    monkeypatch.setattr(HfApi, "model_info", model_info)

    assert ask_hub("some/two", "model.name") == 720


def test_a_download_tells_how_much_is_here_by_the_files_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = tmp_path / "models--some--three" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "earlier").write_bytes(bytes(50))
    seen: list[tuple[int, int]] = []
    told = threading.Event()

    def a_thousand(_name: str, _key: str) -> int:
        return 1000

    def fetch(name: str, *, allow_patterns: list[str]) -> None:
        assert (name, "*.safetensors" in allow_patterns) == ("some/three", True)
        (blobs / "new.incomplete").write_bytes(bytes(300))
        assert told.wait(10)

    def note(done: int, total: int) -> None:
        seen.append((done, total))
        if done:
            told.set()

    monkeypatch.setattr(hub, "_TOLD_EVERY_S", 0.001)
    monkeypatch.setattr(hub, "ask_hub", a_thousand)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)

    hub.download("some/three", note)

    assert seen[-1] == (300, 1000)


def test_a_folder_is_never_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, AssertionError("the hub was asked"))

    hub.download(str(tmp_path), silent)
    hub.download("embedded", silent)

    assert asked == []
