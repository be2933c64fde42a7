"""Joules that an NVIDIA GPU counts itself, through NVML (nvidia-ml-py, the extra "nvml").

The counter is of the whole GPU since its driver was loaded, whoever used it. GPUs before Volta have none.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from gossipllm.device.measured import NotMeasuredError
from trust.extras import install_command


class Nvml:
    """The energy of one GPU since this was made. Raises `NotMeasuredError` where it cannot be read.

    `visible` is the value of CUDA_VISIBLE_DEVICES, whose numbers or names say which GPU CUDA's first one is.
    """

    def __init__(self, visible: str = "", *, library: Any = None) -> None:
        self._library = _library() if library is None else library
        try:
            self._library.nvmlInit()
            self._gpu = self._handle(visible.partition(",")[0].strip())
            self._since_mj = self._millijoules()
        except self._library.NVMLError as error:
            raise NotMeasuredError(f"NVML: {error}") from None
        self.method: Final = "nvml"

    def joules(self) -> float:
        try:
            return (self._millijoules() - self._since_mj) / 1e3
        except self._library.NVMLError as error:
            raise NotMeasuredError(f"NVML: {error}") from None

    def _handle(self, first: str) -> Any:
        if first and not first.isdigit():
            return self._library.nvmlDeviceGetHandleByUUID(first)
        return self._library.nvmlDeviceGetHandleByIndex(int(first or 0))

    def _millijoules(self) -> int:
        return int(self._library.nvmlDeviceGetTotalEnergyConsumption(self._gpu))


def _library() -> Any:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        raise NotMeasuredError(f"the energy of a GPU needs: {install_command('nvml')}") from None
