"""Whom to talk with: a base model, and what was learned on it, by the words of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gossipllm.config import EMBEDDED, ModelConfig
from gossipllm.mistakes import UserMistake
from gossipllm.model.snapshots import Snapshot, decode_snapshot
from peers.config import load_config
from peers.home import Home
from peers.store import Store


@dataclass(frozen=True, slots=True)
class Learned:
    """What goes beside the base: a peer's saved state, or where that is None, a folder in PEFT's format."""

    place: Path
    snapshot: Snapshot | None

    @property
    def name(self) -> str:
        return self.place.resolve().name


@dataclass(frozen=True, slots=True)
class Subject:
    config: ModelConfig
    learned: Learned | None


def subject_of(model: str, adapter: Path | None, *, bare: bool = False) -> Subject:
    """`model` as `gossipllm eval` takes it; `adapter` goes before what a home has itself, and `bare` leaves out what
    was learned. Raises `UserMistake`."""
    folder = Path(model).expanduser()
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise UserMistake(f"{model} is an adapter; name its base model, and give it with --adapter {model}")
    if model != EMBEDDED and (folder / "peer.toml").is_file():
        home = Home(folder)
        home.check()
        config = load_config(home.config).model
        adapter = adapter or (None if bare else folder)
    else:
        try:
            config = ModelConfig(name=model)
        except ValueError as error:
            raise UserMistake(f"MODEL_OR_HOME: {error}") from None
    return Subject(config, None if adapter is None else _learned(adapter.expanduser()))


def _learned(place: Path) -> Learned:
    if not (place / "peer.toml").is_file():
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            if not (place / name).is_file():
                raise UserMistake(
                    f"--adapter: {place} has no {name}, so it is neither a peer's home nor an adapter"
                )
        return Learned(place, None)
    home = Home(place)
    home.check()
    # A home that never ran has no folder yet, which a store would make.
    saved = Store(home.state).load().saved if home.state.is_dir() else None
    if saved is None or saved.snapshot is None:
        raise UserMistake(
            f"{place}: has learned nothing before its first round; run it with: gossipllm run {place}, or talk with "
            f"its base: gossipllm chat {place} --no-adapter"
        )
    return Learned(place, decode_snapshot(saved.snapshot.data))
