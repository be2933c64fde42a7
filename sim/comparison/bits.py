"""Bits a byte of every peer's test text under every peer's best state, as means over seeds.

A text is named for its peer and its category, a reader for its model too. Peers keep their models over seeds, and a
seed only decides which text of a category they hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from sim.comparison.spread import Spread, spread
from sim.experiments.measuring.metrics import PeerMetrics, RunMetrics


def bits_between(runs: Sequence[RunMetrics]) -> dict[str, dict[str, Spread]]:
    """Reader -> text -> bits a byte, from all runs of a method; empty where these were not measured."""
    known = [run for run in runs if all(one.bits for one in run.peers)]
    if not known:
        return {}
    first = known[0].peers
    return {
        f"{_text(reader)} {reader.device}": {
            _text(other): found
            for j, other in enumerate(first)
            if (found := spread(run.peers[i].bits[j] for run in known)) is not None
        }
        for i, reader in enumerate(first)
    }


def bits_heads(bits: Mapping[str, Mapping[str, Spread]]) -> tuple[str, ...]:
    """The heads of a table's columns: the reader, then each text."""
    return ("read by", *next(iter(bits.values())))


def bits_rows(bits: Mapping[str, Mapping[str, Spread]]) -> list[tuple[Text, ...]]:
    """A row of cells for each reader: its name, and mean and standard deviation for each text."""
    return [
        (Text(reader, style="bold"), *(Text(_number(value)) for value in texts.values()))
        for reader, texts in bits.items()
    ]


def _number(value: Spread) -> str:
    return f"{value.mean:.3f}" + ("" if value.std is None else f" ±{value.std:.3f}")


def _text(peer: PeerMetrics) -> str:
    return f"{peer.name.removeprefix('peer-')} {peer.category}"
