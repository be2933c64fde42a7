"""The bytes that a simulated network counts are those that real hosts on loopback report for the same rounds."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack

import pytest
import trio

from gossipllm.work import Progress
from peers.core.config import CoreConfig, RoundConfig
from peers.core.core import Core
from peers.core.merge_inputs import MergeInputs
from peers.core.round.stages import Resting
from peers.core.saved import Saved
from peers.identity import Identity
from peers.net.host import NetworkTraffic
from peers.net.libp2p_host import Libp2pNetwork, open_network
from peers.run.command import DeviceKeys
from peers.run.driver import Driver
from sim.toy.adding import add_toy
from sim.world.world import World
from support.core_bench import UNCONFIRMED
from support.live_networks import gossips, quick
from support.networks import wait_until
from support.toy_learning import ToyLearning
from trust.record.history import Record
from trust.rows.config import TrustConfig

PEERS, ROUNDS = 4, 4
TARGET = [1.0, 1.0, 0.0, 0.0]


class Forgetful:
    """A disk and a watcher that keep nothing."""

    def save(self, saved: Saved) -> None: ...

    def keep(self, inputs: MergeInputs) -> None: ...

    def report(self, record: Record, traffic: NetworkTraffic) -> None: ...

    def progress(self, progress: Progress) -> None: ...


def config_of(number: int) -> CoreConfig:
    # With a barrier every peer merges every other in every round, at whatever speed; and updates differ.
    rounds = RoundConfig(steps=2, rounds=ROUNDS, barrier=True, patience_s=30.0)
    trust = TrustConfig(strategy="uniform")
    return CoreConfig(name=f"peer-{number}", round=rounds, trust=trust, defence=UNCONFIRMED)


def target_of(number: int) -> list[float]:
    return [each + 0.3 * number for each in TARGET]


def simulated(identities: list[Identity]) -> list[tuple[Mapping[str, int], Mapping[str, int]]]:
    world = World(seed=0)
    for number, identity in enumerate(identities):
        add_toy(world, config_of(number), target_of(number), keys=DeviceKeys(identity))
    world.begin()
    world.run(seconds=300.0, until=lambda: all(isinstance(one.core.stage, Resting) for one in world.nodes))
    return [(one.sent, one.received) for one in world.nodes]


async def live(identities: list[Identity]) -> list[tuple[Mapping[str, int], Mapping[str, int]]]:
    forgetful = Forgetful()
    cores = [
        Core(config_of(number), DeviceKeys(identity), None) for number, identity in enumerate(identities)
    ]
    learners = [ToyLearning(target_of(number), train_s=0.3) for number in range(PEERS)]
    drivers = [
        Driver(core, learning=learning, keeper=forgetful, watcher=forgetful)
        for core, learning in zip(cores, learners, strict=True)
    ]
    async with AsyncExitStack() as stack:
        networks: list[Libp2pNetwork] = []
        for identity, driver in zip(identities, drivers, strict=True):
            join = networks[0].addresses if networks else ()
            networks.append(await stack.enter_async_context(open_network(identity, driver, quick(join=join))))
        await wait_until(lambda: all(gossips(network, PEERS - 1) for network in networks))
        async with trio.open_nursery() as nursery:
            for driver, network in zip(drivers, networks, strict=True):
                nursery.start_soon(driver.run, network)
            await wait_until(lambda: all(isinstance(core.stage, Resting) for core in cores))
            nursery.cancel_scope.cancel()
        traffic = [network.traffic() for network in networks]
    return [(one.sent, one.received) for one in traffic]


async def test_simulated_bytes_of_every_kind_are_within_five_percent_of_real_ones() -> None:
    identities = [Identity.generate() for _ in range(PEERS)]
    real = await live(identities)
    played = simulated(identities)
    for way, name in enumerate(("sent", "received")):
        for kind in ("announce", "blob", "known"):
            ours, theirs = (sum(one[way].get(kind, 0) for one in each) for each in (played, real))
            assert ours == pytest.approx(theirs, rel=0.05), f"{kind} {name}"
