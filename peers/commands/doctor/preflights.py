"""The preflight of a home: the account that `gossipllm init` and `run` print, too. Loads a tokenizer and torch."""

from __future__ import annotations

from pathlib import Path

from peers.commands.doctor.findings import Finding, Findings
from peers.commands.preflight import preflight
from peers.home.config import PeerConfig
from trust.errors import UserMistake


def preflight_of(config: PeerConfig, folder: Path) -> Findings:
    """What a run of the home would read, adapt and take, or why it would refuse."""
    try:
        found = preflight(config, folder)
    except UserMistake as error:
        cure = "correct it, or peer.toml; see: gossipllm config, and gossipllm data show PATH for the text"
        yield Finding("fail", "preflight", str(error), cure)
        return
    left_out = found.text is not None and bool(found.text.left_out)
    for line in found.lines():
        what, _, value = line.partition(": ")
        yield Finding("warn" if left_out and what == "left out" else "ok", "preflight", f"{what}: {value}")
    for warning in found.warnings:
        yield Finding("warn", "preflight", warning)
