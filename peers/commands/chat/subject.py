"""The model of a chat: a base and perhaps an adapter, as named on the command line."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from gossipllm.config import ModelConfig
from gossipllm.model.adapter.source import AdapterSource
from peers.commands.model_arguments import home_named, learned_at, model_named
from peers.home.config import load_config


@dataclass(frozen=True, slots=True)
class Subject:
    config: ModelConfig
    learned: AdapterSource | None


def subject_of(model: str, adapter: Path | None, *, bare: bool = False) -> Subject:
    """`model` is the MODEL_OR_HOME of the command; `adapter` replaces a home's own adapter, and `bare` leaves it out.
    Raises `UserMistake`."""
    home = home_named(model)
    config = model_named(model) if home is None else load_config(home.config).model
    place = adapter or (None if bare or home is None else home.folder)
    return Subject(config, None if place is None else _learned(place.expanduser()))


def _learned(place: Path) -> AdapterSource:
    return learned_at(
        place, otherwise=f", or talk with its base: gossipllm chat {shlex.quote(str(place))} --no-adapter"
    )
