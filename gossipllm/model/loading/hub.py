"""Models by a name on the Hugging Face hub: the cache of this device first, and one quick question before a download.

Transformers asks the hub about each file that it may need, and repeats the question for some twenty seconds where there
is no network, also for a model that is in the cache. So a model whose files are in the cache is read from there like
from any folder. A name that is not is asked for once, with a deadline: a folder that was mistyped looks like a name.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from gossipllm.model.loading.files import check_model_folder
from trust.errors import UserMistake

ASK_S: Final = 10.0
"""Seconds in which the hub must say whether it has a model. Guess."""


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


@cache
def ask_hub(name: str, key: str) -> None:
    """Raises `UserMistake` where the hub has no such model for this user, or does not answer in `ASK_S` seconds. A name
    that it has is asked for once in a process."""
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        HfApi().model_info(name, timeout=ASK_S)
    except HFValidationError:
        raise UserMistake(f'{key}: "{name}" is no folder here, and no name on the hub') from None
    except OfflineModeIsEnabled:
        raise UserMistake(
            f'{key}: "{name}" is no folder here and not in the cache, and HF_HUB_OFFLINE forbids to ask the hub'
        ) from None
    except HfHubHTTPError as error:
        why = error.server_message or f"it answered {error.response.status_code}"
        raise UserMistake(
            f'{key}: "{name}" is no folder here, and the hub does not give it: {why[:160]}'
        ) from None
    except (httpx.HTTPError, OSError) as error:
        why = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserMistake(
            f'{key}: "{name}" is no folder here and not in the cache, and the hub cannot be reached ({why})'
        ) from None
