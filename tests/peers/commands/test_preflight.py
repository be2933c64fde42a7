"""The preflight against this machine: what cannot fit is refused, what may not is a warning."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gossipllm.base import corpus_file
from gossipllm.config import DataConfig, ModelConfig
from gossipllm.model.loading import presence
from gossipllm.model.loading.hub import HubSilentError
from peers.commands import preflight as module
from peers.commands.preflight import preflight
from peers.home.config import PeerConfig
from trust.errors import UserMistake


class Disk(NamedTuple):
    total: int
    used: int
    free: int


def config(**model: Any) -> PeerConfig:
    return PeerConfig(
        data=DataConfig(path=str(corpus_file("fr"))),
        model=ModelConfig(device="cpu", dtype="float32", **model),
    )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    def having(*, free: int, whole: int, disk: int = 10**12) -> None:
        def usage(_at: Path) -> Disk:
            return Disk(disk, 0, disk)

        monkeypatch.setattr(module, "free_memory", lambda: free)
        monkeypatch.setattr(module, "whole_memory", lambda: whole)
        monkeypatch.setattr(module.shutil, "disk_usage", usage)

    return having


def test_training_that_no_memory_of_the_device_holds_is_refused(machine: Any, tmp_path: Path) -> None:
    machine(free=10**7, whole=2 * 10**7)

    with pytest.raises(UserMistake, match=r"a training step takes about .* cpu has 20.0 MB in all.*int4"):
        preflight(config(), tmp_path)


def test_training_that_takes_more_than_is_free_now_is_a_warning(machine: Any, tmp_path: Path) -> None:
    machine(free=3 * 10**8, whole=10**11)

    (warning,) = preflight(config(), tmp_path).warnings

    assert warning.startswith("memory: training takes about ")
    assert "300.0 MB are free now" in warning


def test_enough_of_everything_is_no_warning(machine: Any, tmp_path: Path) -> None:
    machine(free=10**11, whole=10**11)

    assert preflight(config(), tmp_path).warnings == ()


def test_a_state_that_does_not_fit_the_disk_is_refused(machine: Any, tmp_path: Path) -> None:
    machine(free=10**11, whole=10**11, disk=10**5)

    with pytest.raises(UserMistake, match=r"the state of this peer takes about .* has 100.0 kB free"):
        preflight(config(), tmp_path)


def test_a_download_that_does_not_fit_the_disk_is_refused_before_it_begins(
    machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(free=10**11, whole=10**11, disk=10**9)

    def large(_name: str, _key: str) -> int:
        return 5 * 10**9

    monkeypatch.setattr(presence, "ask_hub", large)

    with pytest.raises(UserMistake, match=r"the download of some/model takes about 5.0 GB"):
        preflight(config(name="some/model"), tmp_path)


def test_a_hub_that_cannot_be_asked_leaves_the_model_to_the_first_run(
    machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_name: str, _key: str) -> int:
        raise HubSilentError("the hub cannot be reached")

    machine(free=10**11, whole=10**11)
    monkeypatch.setattr(presence, "ask_hub", silent)

    found = preflight(config(name="some/model"), tmp_path)

    assert found.lines() == (
        "base: not examined, the first run asks for it again: the hub cannot be reached",
    )
