"""Sybils: many identities over few connections, none of which did any work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from peers.core.events import PeerId
from sim.adversaries.intruder import Intruder, Town, ref, signed
from sim.world.keys import ToyKeys
from sim.world.trace import Happened
from wire.digest import NO_DIGEST, Content
from wire.floats import F32

CONNECTIONS: Final = 4
"""Connections that they share, each from an address of its own."""
CONTENTS: Final = 8
"""Different adapters among them: the untouched start under a little noise."""
NOISE: Final = 1e-3


class Sybils(Intruder):
    """Once a round every identity announces a nearly untouched adapter, as soon as an honest peer announced that
    round."""

    cores = False

    def __init__(self) -> None:
        self._round = -1
        self._contents: list[tuple[Content, Content]] = []

    def ids(self, identities: int) -> set[PeerId]:
        return {_keys(number).peer_id for number in range(identities)}

    def begin(self, town: Town) -> None:
        for number in range(CONNECTIONS):
            town.connect(_relay(number), f"v4:203.0.113.{number}")

    def act(self, town: Town, happened: Sequence[Happened]) -> None:
        for _, announced, payload in town.published(happened, town.honest):
            if announced.round > self._round:
                self._round = announced.round
                self._contents = self._contents or _made(town)
                for number in range(town.identities):
                    update, evidence = self._contents[number % CONTENTS]
                    keys = _keys(number)
                    mine = msgspec.structs.replace(
                        announced,
                        author=keys.public_key,
                        name=f"sybil-{number}",
                        previous=NO_DIGEST,
                        update=ref(update),
                        offer=town.workshop.blueprint.offer,
                        evidence=ref(evidence),
                    )
                    frame = signed(mine, keys, payload=evidence.data if payload else b"")
                    town.tell(town.honest, frame, _relay(number % CONNECTIONS))


def _keys(number: int) -> ToyKeys:
    return ToyKeys.of(f"sybil {number}")


def _relay(number: int) -> str:
    return f"sybil-host-{number}"


def _made(town: Town) -> list[tuple[Content, Content]]:
    """The updates and their predictions, which the hosts serve from now on."""
    workshop = town.workshop
    start, offer = workshop.untouched(), workshop.blueprint.offer
    made: list[tuple[Content, Content]] = []
    for number in range(CONTENTS):
        random = np.random.default_rng(number)

        def noisy(_: str, value: F32, random: np.random.Generator = random) -> F32:
            return value + random.normal(0.0, NOISE, value.shape).astype(np.float32)

        state = workshop.each(start, noisy)
        evidence = workshop.predictions(state)
        assert evidence is not None, "an adapter near the start has finite predictions"
        made.append((workshop.encoded(state, start, offer), Content.of(evidence)))
    for relay in map(_relay, range(CONNECTIONS)):
        for content in (one for pair in made for one in pair):
            town.serve(relay, content)
    return made
