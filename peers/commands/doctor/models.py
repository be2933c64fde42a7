"""Checks of models on this device: the embedded bases, the hub's cache, the model of a home. No torch."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib.metadata
import json
import os
import time
from pathlib import Path
from typing import Any, Final, cast

from safetensors import SafetensorError, safe_open

from gossipllm.base import MODELS, model_folder
from gossipllm.model.loading.files import check_model_folder
from gossipllm.model.loading.hub import cached_folder
from peers.commands.doctor.findings import Finding, Findings
from trust.counting import in_bytes
from trust.errors import UserMistake

_COUNT_S: Final = 2.0
"""Seconds to count the cache's files in. Guess: a cache of a thousand files on a slow disk."""

_REINSTALL: Final = "install gossipllm again: pip install --force-reinstall --no-deps gossipllm"


def embedded_bases() -> Findings:
    """Compare the embedded bases with the hashes that pip recorded; without these, check that their files can be
    read."""
    size = 0
    for name in MODELS:
        folder = model_folder(name)
        try:
            wrong = _changed(name) or _unreadable(folder)
        except OSError as error:
            wrong = f"{Path(str(error.filename)).name}: {error.strerror}"
        if wrong:
            yield Finding("fail", "embedded bases", f"{name}: {wrong}", _REINSTALL)
            return
        size += _size(folder)[0]
    yield Finding("ok", "embedded bases", f"{len(MODELS)}, whole, {in_bytes(size)}")


def hub_cache() -> Findings:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    variable = next((name for name in ("HF_HUB_CACHE", "HF_HOME") if os.environ.get(name)), "")
    where = f"{folder}{f' (by {variable})' if variable else ''}"
    offline = ", offline" if constants.HF_HUB_OFFLINE else ""
    if not folder.is_dir():
        yield Finding("ok", "model cache", f"empty: {where}{offline}")
        return
    size, whole = _size(folder)
    yield Finding("ok", "model cache", f"{'' if whole else 'more than '}{in_bytes(size)} in {where}{offline}")


def named(name: str) -> Findings:
    """Whether the model that a home names is on this device."""
    if name in MODELS:
        return
    folder = Path(name).expanduser()
    if folder.is_dir():
        try:
            check_model_folder(folder, "model.name")
        except UserMistake as error:
            yield Finding("fail", "model", str(error), "mend the folder, or set [model] name in peer.toml")
        else:
            yield Finding("ok", "model", f"folder {name}")
    elif name.startswith(("/", ".", "~")):
        yield Finding("fail", "model", f"there is no folder {name}", "set [model] name in peer.toml")
    else:
        yield _of_the_hub(name)


def _of_the_hub(name: str) -> Finding:
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        value = f"{name} is neither a folder here nor a name of the hub"
        return Finding("fail", "model", value, "set [model] name in peer.toml")
    if cached_folder(name) is not None:
        return Finding("ok", "model", f"{name}, in the cache")
    if isinstance(found, str):
        cure = "the first run fetches the rest from the hub"
        return Finding("warn", "model", f"{name}, only in part in the cache", cure)
    if constants.HF_HUB_OFFLINE:
        cure = "unset HF_HUB_OFFLINE for the first run, which fetches it from the hub"
        return Finding("fail", "model", f"{name}, not in the cache, and the hub is not to be asked", cure)
    return Finding("warn", "model", f"{name}, not in the cache", "the first run fetches it from the hub")


def _changed(model: str) -> str:
    """The first file that differs from what pip installed; empty also where pip recorded no hashes."""
    for file in importlib.metadata.files("gossipllm") or ():
        if file.hash is None or not Path(str(file)).is_relative_to(f"gossipllm/base/{MODELS[model]}"):
            continue
        digest = hashlib.new(file.hash.mode, (model_folder(model) / file.name).read_bytes()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii") != file.hash.value:
            return f"{file.name} is not what was installed"
    return ""


def _unreadable(folder: Path) -> str:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        try:
            json.loads((folder / name).read_bytes())
        except ValueError:
            return f"{name} is damaged"
    opened = cast("Any", safe_open)
    try:
        # Refuses a file that is shorter or longer than its head says.
        with opened(folder / "model.safetensors", framework="numpy"):
            return ""
    except (SafetensorError, OSError):
        return "model.safetensors is missing or damaged"


def _size(folder: Path) -> tuple[int, bool]:
    """Bytes of the files in `folder` without links, and whether all were counted in time."""
    began, total = time.monotonic(), 0
    for at, _, names in os.walk(folder):
        for name in names:
            # Another process may add or delete files at the same time.
            with contextlib.suppress(OSError):
                total += 0 if (file := Path(at, name)).is_symlink() else file.stat().st_size
        if time.monotonic() - began > _COUNT_S:
            return total, False
    return total, True
