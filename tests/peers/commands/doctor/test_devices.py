"""Torch, its devices, and which type of number is taken."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

from gossipllm.config import ModelConfig
from peers.commands.doctor import devices

CPU = ModelConfig(device="cpu", dtype="bfloat16")


def test_torch_that_cannot_be_loaded_fails_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)

    (found,) = devices.torch_itself()

    assert found.level == "fail"
    assert "\n" not in found.value


def test_a_device_that_is_not_there_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    (found,) = devices.speeds(ModelConfig(device="cuda"))

    assert found.level == "fail"
    assert "model.device is cuda" in found.value


@pytest.mark.parametrize(("half", "level"), [(2.0, "ok"), (0.5, "warn"), (0.92, "ok")])
def test_bfloat16_that_is_taken_though_it_is_slower_is_worth_a_look(
    half: float, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds(_: Any, *dtypes: torch.dtype) -> list[float]:
        return [1 / half if dtype is torch.bfloat16 else 1.0 for dtype in dtypes]

    monkeypatch.setattr(devices, "_products_s", seconds)

    (found,) = devices.speeds(CPU)

    assert found.level == level
    assert found.value.startswith(f"{half:.1f} times")
    assert bool(found.cure) == (level == "warn")


def test_every_device_of_cuda_is_told_with_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def memory(_: int) -> tuple[float, float]:
        return 3e9, 8e9

    def name(index: int) -> str:
        return f"card {index}"

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", memory)
    monkeypatch.setattr(torch.cuda, "get_device_name", name)

    found = {one.what: one.value for one in devices.devices()}

    assert found["cuda:1"] == "card 1, 3.0 GB of 8.0 GB free"
