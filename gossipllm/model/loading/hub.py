"""Models by a name on the Hugging Face hub: the cache of this device first, and one quick question before a download.

Transformers asks the hub about each file that it may need, and repeats the question for some twenty seconds where there
is no network, also for a model that is in the cache. So a model whose files are in the cache is read from there like
from any folder. A name that is not is asked for once, with a deadline: a folder that was mistyped looks like a name.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from gossipllm.base import MODELS
from gossipllm.exhaustion import is_exhaustion
from gossipllm.model.loading.files import check_model_folder
from trust.errors import UserMistake

ASK_S: Final = 10.0
"""Seconds in which the hub must say whether it has a model. Guess."""
NEEDED: Final = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
"""The files of a model that loading it and its tokenizer takes: no weights in formats that run code."""
_TOLD_EVERY_S: Final = 0.5


def cached_folder(name: str) -> Path | None:
    """The folder of the cache that holds all files of this model, None where one is missing or damaged."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        return None
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    try:
        check_model_folder(folder, name)
    except UserMistake:
        return None
    return folder


class HubSilentError(UserMistake):
    """The hub cannot be asked, so that it is not known whether it has a model."""


@cache
def ask_hub(name: str, key: str) -> int:
    """The bytes of a model on the hub that loading it takes. A name that the hub has is asked for once in a process.

    Raises `UserMistake` where the hub has no such model for this user, and `HubSilentError` where it does not answer in
    `ASK_S` seconds.
    """
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        info: Any = HfApi().model_info(name, timeout=ASK_S, files_metadata=True)
    except HFValidationError:
        raise UserMistake(f'{key}: "{name}" is no folder here, and no name on the hub') from None
    except OfflineModeIsEnabled:
        raise HubSilentError(
            f'{key}: "{name}" is no folder here and not in the cache, and HF_HUB_OFFLINE forbids to ask the hub'
        ) from None
    except HfHubHTTPError as error:
        why = error.server_message or f"it answered {error.response.status_code}"
        raise UserMistake(
            f'{key}: "{name}" is no folder here, and the hub does not give it: {why[:160]}'
        ) from None
    except (httpx.HTTPError, OSError) as error:
        why = " ".join(str(error).split())[:120] or type(error).__name__
        raise HubSilentError(
            f'{key}: "{name}" is no folder here and not in the cache, and the hub cannot be reached ({why})'
        ) from None
    files: list[Any] = getattr(info, "siblings", None) or []
    return sum(one.size or 0 for one in files if any(fnmatch(one.rfilename, pattern) for pattern in NEEDED))


def download(name: str, told: Callable[[int, int], None]) -> None:
    """Fetch a model of the hub into the cache, unless it is there or `name` is a folder. `told` is called with the
    bytes that are here and their total, twice a second and from another thread.

    The bytes are those of the cache's files, because progress bars differ from version to version of the library.
    Raises `UserMistake` where the hub does not give it.
    """
    if name in MODELS or Path(name).expanduser().is_dir() or name.startswith(("/", ".", "~")):
        return
    if cached_folder(name) is not None:
        return
    import huggingface_hub

    total = ask_hub(name, "model.name")
    files = Path(huggingface_hub.constants.HF_HUB_CACHE, f"models--{name.replace('/', '--')}", "blobs")
    before, done = _held(files), threading.Event()

    def watch() -> None:
        while not done.wait(_TOLD_EVERY_S):
            told(min(_held(files) - before, total), total)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        cast("Any", huggingface_hub).snapshot_download(name, allow_patterns=list(NEEDED))
    except Exception as error:
        if is_exhaustion(error):
            raise
        why = " ".join(str(error).split())[:160]
        raise UserMistake(f'model.name: "{name}" could not be downloaded: {why}') from None
    finally:
        done.set()
        watcher.join()


def _held(folder: Path) -> int:
    """Bytes of the files in a folder, 0 where there is none."""
    total = 0
    for path in folder.glob("*"):
        # The library renames files while it loads.
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total
