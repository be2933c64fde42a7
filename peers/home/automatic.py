"""Settings that say "auto" in `peer.toml`: what this device chose for them, and how long that holds.

The choice is made when the peer first runs and kept beside `peer.toml`, with the class of device and text that it was
made for. Where that is another one now, the peer chooses again at its next run. Until there is a choice, such a setting
has its default.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from gossipllm.device.plan.choice import AUTOMATIC, BATCH, BROUGHT, Chosen, ChosenSettings
from gossipllm.device.plan.law import LAW
from gossipllm.text.reading.files import source_files
from trust.errors import UserMistake
from trust.files import write_whole

if TYPE_CHECKING:
    from peers.home.config import PeerConfig

AUTO: Final = "auto"
CHOICE_FILE: Final = "chosen.json"
"""Beside `peer.toml`."""


class KeptChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The file: what was chosen, and the class of device and text."""

    kind: str
    chosen: Chosen


@dataclass(frozen=True, slots=True)
class Automatic:
    """The settings of a peer that say "auto", by dotted key; those that a chosen batch brings with it; the class of
    device and text; and what was chosen, None where that is still to do."""

    keys: tuple[str, ...] = ()
    brought: tuple[str, ...] = ()
    kind: str = ""
    chosen: Chosen | None = None

    @property
    def all_keys(self) -> tuple[str, ...]:
        return self.keys + self.brought

    @property
    def settings(self) -> ChosenSettings:
        """What was chosen of these."""
        found: ChosenSettings = {} if self.chosen is None else self.chosen.settings
        return {key: value for key, value in found.items() if key in self.all_keys}

    def noted(self, key: str) -> str:
        """What a list of settings says of this one; empty where it has a given value."""
        if key in self.settings:
            return f"{AUTO}, chosen for this device"
        if key not in self.keys:
            return ""
        return f"{AUTO}, not chosen yet" if self.chosen is None else f"{AUTO}, the default"

    @property
    def why(self) -> str:
        """What the choice was made by; empty where there is none."""
        return "" if self.chosen is None else self.chosen.why

    @property
    def line(self) -> str:
        """All of it in a line for people; empty where no setting says "auto"."""
        if not self.keys:
            return ""
        return (
            f"{', '.join(self.keys)}: chosen when the peer runs" if self.chosen is None else self.chosen.line
        )


def automatic_in(values: Mapping[str, Any]) -> Automatic:
    """The settings in these tables that say "auto" and may."""
    keys = tuple(key for key in AUTOMATIC if _table(values, key).get(_name(key)) == AUTO)
    brought = tuple(key for key in BROUGHT if BATCH in keys and _name(key) not in _table(values, key))
    return Automatic(keys, brought)


def without_automatic(values: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """The tables without these settings, which then have their defaults."""
    tables: dict[str, Any] = {name: _copied(table) for name, table in values.items()}
    for key in keys:
        del tables[key.partition(".")[0]][_name(key)]
    return tables


def kind_of(config: PeerConfig, keys: tuple[str, ...]) -> str:
    """The class of device, text and model for which these settings are chosen. A text of twice the size is another."""
    size = 0
    with suppress(UserMistake, OSError):
        size = sum(file.stat().st_size for file in source_files(config.data.path))
    model, adapter, training = config.model, config.adapter, config.training
    parts = (
        f"{','.join(keys)} by {LAW}",
        f"{platform.machine()} {_processor()}, {os.cpu_count()} processors, {model.threads} threads",
        f"devices {','.join(sorted(path.name for path in Path('/dev').glob('nvidia[0-9]*')))} {model.device}",
        f"{model.name} {model.held} {model.dtype}, windows of {config.data.window_tokens}",
        f"adapter {adapter.train} {adapter.rank} {','.join(adapter.modules)}, blocks {config.layers.partial}",
        "" if BATCH in keys else f"batches of {training.windows_of(config.data.window_tokens)}",
        f"text of 2^{math.floor(math.log2(max(1, size)))} bytes",
    )
    return "; ".join(parts)


def read_choice(path: Path) -> KeptChoice | None:
    """None where there is no file, or none that can be understood: then this device chooses again."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=KeptChoice)
    except (OSError, msgspec.DecodeError):
        return None


def keep_choice(path: Path, kept: KeptChoice) -> None:
    """Raises `OSError`."""
    data = msgspec.json.format(msgspec.json.encode(kept), indent=2)
    write_whole(path, lambda file: file.write(data), mode=0o600, durable=False)


def _copied(table: Any) -> Any:
    return dict(cast("Mapping[str, Any]", table)) if isinstance(table, Mapping) else table


def _table(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = values.get(key.partition(".")[0])
    return cast("Mapping[str, Any]", table) if isinstance(table, Mapping) else {}


def _name(key: str) -> str:
    return key.partition(".")[2]


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
