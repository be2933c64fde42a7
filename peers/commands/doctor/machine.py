"""Checks of this machine: Python, libraries, disk, memory, clock and sockets. Loads nothing heavy."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import shutil
import socket
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from gossipllm.device.free_memory import free_memory
from peers.commands.doctor.findings import Finding, Findings
from trust.counting import in_bytes
from trust.extras import install_command

_DISTRIBUTION: Final = "gossipllm"
_LEAST_DISK: Final = 2e9
"""Bytes for two generations of a state and a small model from the hub. Guess."""
_LEAST_MEMORY: Final = 2e9
"""Bytes: a learner with the embedded base takes about 1.0 GB of memory beside the network's 0.1. Guess."""
_TIME_ERROR: Final = 5
"""What adjtimex(2) returns while the clock is not synchronised."""
_TIMEX_BYTES: Final = 512
"""More than any kernel's `struct timex`."""


def python() -> Findings:
    needs = importlib.metadata.metadata(_DISTRIBUTION)["Requires-Python"]
    version = ".".join(str(part) for part in sys.version_info[:3])
    apart = sys.prefix != sys.base_prefix
    fits = Requirement(f"python{needs}").specifier.contains(version)
    where = "in a virtual environment" if apart else "the system's own"
    if not fits:
        yield Finding("fail", "python", f"{version}, {where}", f"install Python {needs}")
    elif not apart:
        yield Finding("warn", "python", f"{version}, {where}", "a virtual environment keeps libraries apart")
    else:
        yield Finding("ok", "python", f"{version}, {where}")


def libraries() -> Findings:
    """Libraries that do not fit `pyproject.toml`, then the number of those that do, then the optional groups."""
    yield Finding("ok", "gossipllm", importlib.metadata.version(_DISTRIBUTION))
    found = [Requirement(one) for one in importlib.metadata.requires(_DISTRIBUTION) or ()]
    right = 0
    missing: defaultdict[str, list[str]] = defaultdict(list)
    for one in found:
        extra = _extra(one)
        version = _version(one.name)
        fits = version is not None and one.specifier.contains(version, prereleases=True)
        if extra:
            missing[extra] += [] if fits else [one.name]
        elif fits:
            right += 1
        else:
            cure = f"pip install '{one.name}{one.specifier}'"
            yield Finding("fail", one.name, version or "not installed", f"needs {one.specifier}: {cure}")
    yield Finding("ok", "libraries", f"{right} are as required")
    for extra, names in missing.items():
        if extra not in ("dev", "docs"):
            value = f"without {', '.join(names)}" if names else "installed"
            cure = f"where you want it: {install_command(extra)}" if names else ""
            yield Finding("ok", f"[{extra}]", value, cure)


def disk(folder: Path) -> Findings:
    """Free space at `folder`, or at its nearest parent that exists."""
    at = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())
    free = shutil.disk_usage(at).free
    value = f"{in_bytes(free)} free at {at}"
    if free < _LEAST_DISK:
        yield Finding("warn", "disk", value, f"have {in_bytes(_LEAST_DISK)} free for a model and its states")
    else:
        yield Finding("ok", "disk", value)


def memory() -> Findings:
    free = free_memory()
    if free is None:
        yield Finding("ok", "memory", "not checked: this system does not tell it")
    elif free < _LEAST_MEMORY:
        cure = f"have {in_bytes(_LEAST_MEMORY)} free, or keep the model in few bits with [layers] context"
        yield Finding("warn", "memory", f"{in_bytes(free)} free", cure)
    else:
        yield Finding("ok", "memory", f"{in_bytes(free)} free")


def clock() -> Findings:
    """Whether the clock is synchronised. Peers do not exchange the time, so there is nothing to compare it with."""
    if sys.platform != "linux":
        yield Finding("ok", "clock", "not checked: this system does not tell whether it is kept right")
        return
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        state = -1
    if state < 0:
        yield Finding("ok", "clock", "not checked: the kernel does not tell whether it is kept right")
    elif state == _TIME_ERROR:
        cure = "switch on NTP; only the times shown to people depend on it, no decision does"
        yield Finding("warn", "clock", "nothing keeps it right", cure)
    else:
        yield Finding("ok", "clock", "kept right by the system")


def sockets(host: str, port: int) -> Findings:
    """Whether a program can listen on loopback, and at the address that the settings name."""
    for at, number in dict.fromkeys((("127.0.0.1", 0), (host, port))):
        why = _refused(at, number)
        value = f"{at} port {number or 'any'}"
        if why:
            cure = f"choose another listen port, or 0 for a free one ({why})"
            yield Finding("fail", "listening", f"{value}: not possible", cure)
        else:
            yield Finding("ok", "listening", f"{value}: possible")


def _refused(host: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if sys.platform != "win32":
                # As a peer does, so that lingering connections of an earlier run do not block the port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except OSError as error:
        return error.strerror or os.strerror(error.errno or 0)
    return ""


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _extra(requirement: Requirement) -> str:
    """The optional group of a requirement; empty for none."""
    text = str(requirement.marker or "")
    return text.partition("extra == ")[2].strip("'\"")
