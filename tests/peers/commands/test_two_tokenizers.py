"""Two real peers whose base models have different tokenizers meet, compare byte rows, and say so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.processes import PeerEvent, PeerProcess, gossipllm, make_home


def compared(event: PeerEvent) -> list[dict[str, Any]]:
    """The neighbours of a round whose byte rows were measured."""
    return [one for one in event.get("seen", ()) if one.get("by_bytes")]


@pytest.mark.battery
def test_peers_of_two_tokenizers_compare_byte_rows_and_merge_nothing(
    run: Callable[..., PeerProcess], tmp_path: Path
) -> None:
    homes = [make_home(tmp_path / name, name=name) for name in ("anna", "bruno")]
    anna = run(homes[0])
    address = anna.until(lambda event: event["event"] == "listening")["addresses"][0]
    bruno = run(homes[1], "--set", "model.name=embedded-1024", "--join", address)

    found = [one.until(lambda event: bool(compared(event))) for one in (anna, bruno)]
    for one in (anna, bruno):
        assert one.stop() == 0

    for event in found:
        (other,) = compared(event)
        assert other["relation"] == "compares"
        assert other["weight"] == 0
        assert 0 < other["error"] < other["distance"] < 1
        assert event["self_weight"] == 1
    # Both computed it of the same two blobs where they met in one round; between rounds adapters move a little.
    assert compared(found[0])[0]["distance"] == pytest.approx(compared(found[1])[0]["distance"], rel=0.5)
    notes = [event["text"] for event in anna.events if event["event"] == "note"]
    assert any("compare predictions, and do not merge" in text for text in notes)
    shown = gossipllm("trust", "show", tmp_path)
    assert ["anna", "*100", "c"] in [line.split() for line in shown.stdout.splitlines()]
    told = json.loads(gossipllm("trust", "explain", homes[0], "anna", "bruno", "--json").stdout)
    assert (told["relation"], told["by_bytes"]) == ("compares", True)
