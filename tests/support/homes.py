"""A home with one of each file that a running peer writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gossipllm.base import corpus_file
from gossipllm.config import DataConfig
from peers.core.merge_inputs import MergeInput, MergeInputs
from peers.home.config import PeerConfig
from peers.home.folder import Home
from peers.home.making import make_home
from peers.home.merge_inputs import write_merge_inputs
from peers.identity import Identity
from peers.net.finding.book_file import write_book
from peers.run.learner.log import open_log
from support.records import begun_of, entry_of, round_of
from support.states import filled_store
from trust.record.blocked import BlockedPeer, write_blocked
from trust.record.segments import HistoryLimits
from trust.record.writer import HistoryWriter
from wire.digest import Content

FILES: Final = (
    "peer.toml",
    "identity.key",
    "history.msgpack",
    "history-000001.msgpack",
    "state/state.0",
    "state/state.1",
    "state/published",
    "state/company",
    "addresses.json",
    "blocked.json",
    "learner.log",
    "lock",
)


def full_home(folder: Path, *, last: int) -> Home:
    """The home of a peer whose newest generation is `last` (`support.states`)."""
    home = Home(folder)
    me = make_home(home, PeerConfig(data=DataConfig(path=str(corpus_file("fr"))))).peer_id
    filled_store(home.state, *range(1, last + 1))
    limits = HistoryLimits(segment_bytes=2_000)
    with HistoryWriter(home.history, peer=me, now=0.0, limits=limits) as writer:
        writer.append(entry_of(begun_of(me)))
        for number in range(5):
            writer.append(entry_of(round_of(me, number, {"b": 0.5})))
    member = MergeInput(
        peer="b", name="b", its_round=1, weight=0.5, update=Content.of(b"u" * 50), evidence=None
    )
    inputs = MergeInputs(
        peer="a", round=2, snapshot=Content.of(b"s" * 50), self_weight=0.5, members=(member,)
    )
    write_merge_inputs(home.state, inputs)
    write_book(home.addresses, {Identity(bytes(32)).peer_id: ["/ip4/192.0.2.1/tcp/1"]})
    write_blocked(home.folder, [BlockedPeer(peer="mallory")])
    descriptor, _ = open_log(home.learner_log)
    os.write(descriptor, b"a line\n")
    os.close(descriptor)
    with home.locked():
        pass
    return home
