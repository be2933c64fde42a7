"""Which settings `gossipllm init` writes into `peer.toml`, and how a peer's settings are shown.

There are about a hundred settings. Most have a default that nobody needs to change, and a file that lists them all
hides the few that matter. So a new `peer.toml` holds those in `COMMON`, and `gossipllm config` shows and explains the
rest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gossipllm.config.toml import TomlSetting, TomlTable, described, literal, toml_text
from gossipllm.device.plan.choice import AUTOMATIC
from peers.home.automatic import AUTO
from peers.home.config import PeerConfig
from trust.errors import UserMistake
from trust.files import flush_folder, write_whole

COMMON: Final[dict[str, str]] = {
    "peer.name": "Shown to other peers beside this peer's id. Neither secret nor unique.",
    "peer.network": "Peers learn only from peers with the same name here. It is not a password.",
    "network.listen": "Set a fixed port, as in tcp/4001, to forward it in a router; 0 takes a free one.",
    "network.join": "Addresses of peers to start from, ending in /p2p/12D3KooW...; one is enough; if empty, wait.",
    "network.upload_bytes_s": "Bytes a second to each neighbour. Lower it on a slow or metered link.",
    "round.steps": 'Training steps between two exchanges, or "auto". Fewer exchange more often and send more.',
    "trust.strategy": 'What decides whom to learn from. "local" trains alone; see: gossipllm config trust.strategy',
    "layers.memory_mb": "MB for a training step on a small device: trains as many blocks at a time as fit; 0 for all.",
    "model.name": 'Base model: "embedded", a folder or a name on the Hugging Face hub. Same for all peers.',
    "model.threads": "Processor threads; 0 lets torch choose. Take 1 where several peers share a machine.",
    "adapter.rank": "Size of the adapter. A phone may take 2, a desktop 16; larger ones learn and send more.",
    "data.path": "Your text, a file or a folder; see: gossipllm data show. It is only read, and never sent.",
    "data.window_tokens": "Tokens of a training sequence. Shorter ones need less memory.",
    "training.batch_windows": 'Sequences in a training step, or "auto": measured. Fewer need less memory.',
    "training.learning_rate": 'A number, or "auto": by the batch and the model. Lower it if the training loss jumps.',
}
"""Dotted key -> why a person changes it: the comment in a new `peer.toml`. The whole explanation of a setting is the
docstring of its field."""

REPRODUCTION: Final[frozenset[str]] = frozenset(
    {
        "round.barrier",
        "round.warmup_rounds",
        "trust.form",
        "layers.softmax",
        "adapter.start",
        "training.schedule",
        "training.optimiser",
        "training.reduction",
        "reference.positions",
    }
)
"""Settings that only serve to reproduce published results. The simulator's scenarios set them. `peer.toml` accepts
them, but `gossipllm init` does not write them into it."""

_HEAD: Final = """\
# The settings of this peer that people change. All others have their defaults; to see or explain them:
#   gossipllm config DIR            gossipllm config KEY            gossipllm config DIR --all
"""


@dataclass(frozen=True, slots=True)
class PeerSetting:
    """A setting with its value and its default as TOML, what it takes, and its explanation."""

    key: str
    value: str
    default: str
    kind: str
    about: str

    @property
    def changed(self) -> bool:
        return self.value != self.default

    @property
    def hidden(self) -> bool:
        """Whether lists leave it out: it serves reproduction only and has its default."""
        return self.key in REPRODUCTION and not self.changed


def peer_settings(config: PeerConfig) -> list[PeerSetting]:
    """Every setting of a peer, in the order of the file."""
    defaults = {key: setting.value for table in described(PeerConfig()) for key, setting in _with_keys(table)}
    return [
        PeerSetting(key, setting.value, defaults[key], _kind(key, setting.kind), setting.about)
        for table in described(config)
        for key, setting in _with_keys(table)
    ]


def write_config(
    path: Path, config: PeerConfig, *, every: bool = False, automatic: Collection[str] = ()
) -> None:
    """Write a new `peer.toml`: the common settings, or `every` one; those that are `automatic`, by dotted key, say
    "auto". Raises `UserMistake` where the file exists, and
    `OSError`; there is no file then."""
    if path.exists():
        raise UserMistake(f"{path}: exists already; edit it, or choose another folder")
    data = (long_toml if every else short_toml)(config, automatic).encode()
    # Closed to others: it names the text, and perhaps whom this peer knows.
    write_whole(path, lambda file: file.write(data), mode=0o600, durable=True)
    flush_folder(path.parent)


def short_toml(config: PeerConfig, automatic: Collection[str] = ()) -> str:
    """A new `peer.toml`: the common settings, and those of `config` that differ from their defaults."""
    shown = {each.key for each in peer_settings(config) if each.key in COMMON or each.changed}
    tables = _tables(config, shown.__contains__, lambda key, about: COMMON.get(key, about), automatic)
    return _HEAD + "\n" + toml_text(replace(table, about="") for table in tables)


def long_toml(config: PeerConfig, automatic: Collection[str] = ()) -> str:
    """Every setting with its explanation, but for those that only serve reproduction."""
    hidden = {each.key for each in peer_settings(config) if each.hidden}
    return toml_text(_tables(config, lambda key: key not in hidden, _unchanged, automatic))


def whole_toml(config: PeerConfig, automatic: Collection[str] = ()) -> str:
    """Every setting with its explanation; those that only serve reproduction are marked."""
    return toml_text(_tables(config, lambda _: True, marked, automatic))


def marked(key: str, about: str) -> str:
    """The explanation of a setting, with a mark where it only serves reproduction."""
    return f"(For the reproduction of published results only.) {about}" if key in REPRODUCTION else about


def _kind(key: str, kind: str) -> str:
    return f'{kind}, or "{AUTO}": this device chooses by a measurement' if key in AUTOMATIC else kind


def _unchanged(key: str, about: str) -> str:
    del key
    return about


def _tables(
    config: PeerConfig,
    shown: Callable[[str], bool],
    about: Callable[[str, str], str],
    automatic: Collection[str],
) -> Iterator[TomlTable]:
    for table in described(config):
        settings = tuple(
            replace(
                setting,
                about=about(key, setting.about),
                value=literal(AUTO) if key in automatic else setting.value,
            )
            for key, setting in _with_keys(table)
            if shown(key)
        )
        yield replace(table, settings=settings)


def _with_keys(table: TomlTable) -> Iterator[tuple[str, TomlSetting]]:
    for setting in table.settings:
        yield f"{table.name}.{setting.name}", setting
