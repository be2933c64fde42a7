"""Joules from NVML: of the GPU that CUDA takes first, since the counter was opened."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

import pytest

from gossipllm.device.measured import NotMeasuredError
from gossipllm.device.nvml import Nvml


class Library:
    """The functions of pynvml that are called, over counters in millijoules."""

    class NVMLError(Exception):
        pass

    counters: ClassVar[dict[int | str, int]] = {}

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int | str) -> int:
        if handle not in self.counters:
            raise Library.NVMLError("Not Supported")
        return self.counters[handle]


@pytest.mark.parametrize(("visible", "gpu"), [("", 0), ("2,0", 2), ("GPU-5f", "GPU-5f")])
def test_it_counts_the_gpu_that_cuda_takes_first(visible: str, gpu: int | str) -> None:
    library: Any = Library()
    library.counters = {0: 1, 2: 1, "GPU-5f": 1, gpu: 10_000}
    counter = Nvml(visible, library=library)

    library.counters[gpu] = 12_500

    assert (counter.joules(), counter.method) == (2.5, "nvml")


def test_a_gpu_without_a_counter_and_one_that_is_lost_are_named() -> None:
    library: Any = Library()
    library.counters = {}
    with pytest.raises(NotMeasuredError, match="NVML: Not Supported"):
        Nvml(library=library)
    library.counters = {0: 0}
    counter = Nvml(library=library)
    library.counters = {}
    with pytest.raises(NotMeasuredError, match="NVML: Not Supported"):
        counter.joules()


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(NotMeasuredError, match=r"pip install .*\[nvml\]"):
        Nvml()
