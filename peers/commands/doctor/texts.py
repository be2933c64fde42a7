"""The check of a home's own text: the account that `gossipllm init` and `run` print, too. Loads a tokenizer."""

from __future__ import annotations

from gossipllm.model.loading.models import load_tokenizer
from gossipllm.text.preflight import examined
from peers.commands.doctor.findings import Finding, Findings
from peers.home.config import PeerConfig
from trust.errors import UserMistake


def text_of(config: PeerConfig) -> Findings:
    """What a run of the home would read, or why it would refuse its text."""
    try:
        account = examined(config.data, load_tokenizer(config.model.name, "model.name"))
    except UserMistake as error:
        yield Finding(
            "fail", "text", str(error), "correct it, or [data] in peer.toml; see: gossipllm data show PATH"
        )
        return
    for line in account.lines():
        what, _, value = line.partition(": ")
        yield Finding("warn" if account.left_out and what == "left out" else "ok", "text", f"{what}: {value}")
