"""Where a model is: in a folder of this device, in the hub's cache, or on the hub. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from gossipllm.base import MODELS, model_folder
from gossipllm.model.loading.files import check_model_folder
from gossipllm.model.loading.hub import HubSilentError, ask_hub, cached_folder
from trust.counting import in_bytes
from trust.errors import UserMistake

Place: TypeAlias = Literal["embedded", "folder", "cache", "hub", "unknown"]


@dataclass(frozen=True, slots=True)
class Presence:
    """Where a model is, and the bytes of its weights, or of its download. `why` says what is not known."""

    place: Place
    size: int = 0
    why: str = ""

    @property
    def here(self) -> bool:
        return self.place in ("embedded", "folder", "cache")

    def line(self, name: str) -> str:
        """For people."""
        match self.place:
            case "embedded":
                return f"base: {name}, comes with this program"
            case "folder":
                return f"base: the folder {name}, {in_bytes(self.size)} of weights"
            case "cache":
                return f"base: {name}, in the hub's cache, {in_bytes(self.size)} of weights"
            case "hub":
                return f"base: {name}, not here; the first run downloads {in_bytes(self.size)} from the hub"
            case "unknown":
                return f"base: not examined, the first run asks for it again: {self.why}"


def presence_of(name: str, key: str) -> Presence:
    """Raises `UserMistake` where the model is nowhere, or its files are not what their names say."""
    if name in MODELS:
        return Presence("embedded", _weights_in(model_folder(name)))
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_model_folder(folder, key)
        return Presence("folder", _weights_in(folder))
    if name.startswith(("/", ".", "~")):
        raise UserMistake(f"{key}: there is no folder {name}")
    cached = cached_folder(name)
    if cached is not None:
        return Presence("cache", _weights_in(cached))
    try:
        return Presence("hub", ask_hub(name, key))
    except HubSilentError as error:
        return Presence("unknown", why=str(error))


def _weights_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
