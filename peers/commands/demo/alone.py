"""The peers that the demo's peers are compared with: the same text, start and settings, but nobody to learn from.

A lone peer is a `gossipllm run` like the others that joins nobody. It trains until its own trust text says that it
gains no more, so what the others are held against is the best that it reaches, and not what it has after as many steps.
One that trains a few blocks at a time does so alone as well; one that shares attention heads with others trains all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from peers.commands.demo.demo_peers import LONE, DemoPeer
from peers.home.folder import Home
from peers.home.making import make_home

ONE: Final = "one"
"""The name of the one process that peers who pre-train are compared with."""
MORE_ROUNDS: Final = 3
"""Times the rounds of the others that a lone peer may take. Most settle long before."""


def make_lone_peers(peers_of_demo: Sequence[DemoPeer], folder: Path) -> tuple[DemoPeer, ...]:
    """Write a home for the lone twin of each peer into the demo's folder, which `make_demo_peers` made."""
    twins: list[DemoPeer] = []
    for one in peers_of_demo:
        rounds = replace(one.config.round, rounds=MORE_ROUNDS * one.config.round.rounds)
        config = replace(one.config, round=rounds)
        home = Home(folder / LONE / one.name)
        twins.append(replace(one, home=home, config=config, peer=make_home(home, config).peer_id))
    return tuple(twins)


def make_one_process(peers_of_demo: Sequence[DemoPeer], folder: Path) -> DemoPeer:
    """Write a home for one process on the text of all peers. In each of its rounds it takes as many steps as all peers
    take in one of theirs, so that rounds of one number have seen as many tokens."""
    first = peers_of_demo[0]
    config = replace(
        first.config,
        peer=replace(first.config.peer, name=ONE),
        data=replace(first.config.data, path=str((folder / "text").absolute())),
        round=replace(first.config.round, steps=len(peers_of_demo) * first.config.round.steps),
    )
    home = Home(folder / LONE / ONE)
    return DemoPeer(ONE, first.language, home, config, make_home(home, config).peer_id)
