"""Joules between two looks: counted where the hardware counts them, else estimated; the method goes with the number.

Counters are of the whole machine, so that they include what other programs did meanwhile. The estimate is of the peer
alone: declared watts times the share of all processors' time that the peer used. Counted joules of a GPU are added to
those of the processors; a GPU that is used and not counted is named in the method.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass

from gossipllm.device.measured import EnergyCounter, NotMeasuredError
from gossipllm.device.nvml import Nvml
from gossipllm.device.rapl import Rapl


@dataclass(frozen=True, slots=True)
class Energy:
    joules: float
    method: str
    """By what they were counted or estimated, as "rapl package" or "estimate: 15 W x processor share"."""


class EnergyMeter:
    """The energy that a peer's device takes. `watts` are those of `DeviceConfig`, `processors` all of the device's.

    `why_not` says why processors are not counted, and is empty where they are.
    """

    def __init__(
        self,
        *,
        watts: float,
        processors: int | None = None,
        rapl: Callable[[], EnergyCounter] = Rapl,
        nvml: Callable[[], EnergyCounter] | None = None,
    ) -> None:
        self._watts = watts
        self._processors = processors or os.cpu_count() or 1
        self._open_gpu = nvml or _nvml
        self._gpu: _Counted | None = None
        self._gpu_used = False
        self._rapl: _Counted | None = None
        self.why_not = ""
        try:
            self._rapl = _Counted(rapl())
        except NotMeasuredError as error:
            self.why_not = str(error)

    def uses_gpu(self) -> None:
        """Count the GPU too from now on. Calling again does nothing."""
        if self._gpu_used:
            return
        self._gpu_used = True
        try:
            self._gpu = _Counted(self._open_gpu())
        except NotMeasuredError as error:
            self.why_not = self.why_not or str(error)

    def look(self) -> None:
        """Read the counters, so that none wraps around unseen. To be called about once a minute."""
        for counted in (self._rapl, self._gpu):
            if counted is not None:
                counted.look()

    def since_last(self, processor_s: float) -> Energy:
        """The energy since the last call, or since the beginning. `processor_s` are the seconds of processors that the
        peer used meanwhile."""
        self.look()
        parts, methods = [0.0], list[str]()
        rapl = None if self._rapl is None else self._rapl.taken()
        # Virtual machines may show a counter that stands still.
        if self._rapl is None or rapl is None or (rapl == 0 and processor_s > 0):
            parts.append(self._watts * processor_s / self._processors)
            methods.append(f"estimate: {self._watts:g} W x processor share")
        else:
            parts.append(rapl)
            methods.append(self._rapl.method)
        if self._gpu_used:
            gpu = None if self._gpu is None else self._gpu.taken()
            parts.append(gpu or 0.0)
            methods.append("GPU not counted" if self._gpu is None or gpu is None else self._gpu.method)
        return Energy(math.fsum(parts), " + ".join(methods))


class _Counted:
    """A counter with what of it was taken already. From its first failure on, it counts nothing."""

    def __init__(self, counter: EnergyCounter) -> None:
        self._counter = counter
        self._now = self._taken = counter.joules()
        self._fails = False
        self.method = counter.method

    def look(self) -> None:
        if self._fails:
            return
        try:
            self._now = self._counter.joules()
        except NotMeasuredError:
            self._fails = True

    def taken(self) -> float | None:
        """Joules since the last call; None where the counter failed."""
        if self._fails:
            return None
        joules, self._taken = self._now - self._taken, self._now
        return joules


def _nvml() -> EnergyCounter:
    return Nvml(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
