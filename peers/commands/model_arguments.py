"""Arguments of `gossipllm chat` and `gossipllm eval` that name a base, a peer's home or an adapter. Only reads."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from gossipllm.base import MODELS
from gossipllm.config import ModelConfig
from gossipllm.model.adapter.snapshots import decode_snapshot
from gossipllm.model.adapter.source import AdapterSource
from gossipllm.model.loading.files import check_files
from gossipllm.model.loading.hub import cached_folder
from peers.home.folder import Home
from peers.home.store import StateStore
from trust.errors import UserMistake


def home_named(model: str) -> Home | None:
    """The peer's home that MODEL_OR_HOME names, None where it names a model. Raises `UserMistake` where it is
    neither."""
    folder = Path(model).expanduser()
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise UserMistake(
            f"{model} is an adapter; name its base model, and give it with --adapter {shlex.quote(model)}"
        )
    if model in MODELS or not (folder / "peer.toml").is_file():
        return None
    home = Home(folder)
    home.check()
    return home


def model_named(model: str) -> ModelConfig:
    """Raises `UserMistake`."""
    if not Path(model).expanduser().is_dir() and model not in MODELS and cached_folder(model) is None:
        click.echo(f"{model}: no such folder; asking the Hugging Face hub", err=True)
    try:
        return ModelConfig(name=model)
    except ValueError as error:
        raise UserMistake(f"MODEL_OR_HOME: {error}") from None


def learned_at(place: Path, *, otherwise: str = "") -> AdapterSource:
    """The adapter in a peer's home or in a PEFT folder. Damaged files of a state are named on standard error.

    Raises `UserMistake`; for a home before its first round its text ends in `otherwise`, what the user can do instead.
    """
    if not (place / "peer.toml").is_file():
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            if not (place / name).is_file():
                raise UserMistake(
                    f"--adapter: {place} has no {name}, so it is neither a peer's home nor an adapter"
                )
        check_files(place, "--adapter")
        return AdapterSource(place, None)
    home = Home(place)
    home.check()
    found = StateStore.look(home.state)
    for note in found.notes:
        click.echo(f"warning: {place}: {note}", err=True)
    saved = found.saved
    best = None if saved is None else saved.best_snapshot
    if best is None:
        raise UserMistake(
            f"{place}: has learned nothing before its first round; run it with: "
            f"gossipllm run {shlex.quote(str(place))}{otherwise}"
        )
    return AdapterSource(place, decode_snapshot(best.data))
