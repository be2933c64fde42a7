"""Speed of a simulated world without learning: `python benchmarks/world_speed.py [--peers 1000] [--rounds 20] [--json]`

Every peer is the real core; every announcement, greeting and reply is encoded, signed, decoded and checked by the
real codec at every receiver; every update is fetched, its digest and its numbers checked; rows are made from
distances by the default strategy (predictions, four temperatures) and measured under the guard; every state is
stored. Included is the trace, a digest over every event and effect. Not included: learning (the toy learner moves four
numbers), Ed25519 (a keyed digest takes its place), sockets and files. The toy's predictions are the same bytes
every time, and a peer that found them good once does not decode them again. Peers sit on a random graph without
relay.

Prints seconds of wall clock and of this process's processor time. The clock starts when the peers do, and stops
when the last one has done its rounds; imports and the making of the peers are beside it. Other programs on the same
cores cost processor time too, because they empty the caches that a thousand peers need.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import math
import os
import pstats
import resource
import time

from peers.core.config import CoreConfig, RoundConfig
from peers.core.round.stages import Resting
from sim.toy.adding import add_toy
from sim.world.conditions import Conditions, TopologyConfig
from sim.world.world import World

GOAL_S = 10.0
"""For 1,000 peers and 20 rounds; in proportion for others."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--degree", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", action="store_true", help="where the time goes; everything takes longer")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    world = _world(options)
    made_s = time.perf_counter() - began
    profile = cProfile.Profile() if options.profile else None
    wall, cpu = time.perf_counter(), time.process_time()
    if profile:
        profile.enable()
    _run(world)
    if profile:
        profile.disable()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    _print(options, world, wall, cpu, made_s)
    if profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)


def _world(options: argparse.Namespace) -> World:
    """Three groups with targets of their own, in which each peer's text has another lean."""
    topology = TopologyConfig(kind="random", degree=options.degree, relay=False)
    world = World(seed=options.seed, conditions=Conditions(topology=topology))
    for number in range(options.peers):
        config = CoreConfig(name=f"peer-{number}", round=RoundConfig(rounds=options.rounds))
        lean = [0.5 * math.sin(number + axis) for axis in range(4)]
        add_toy(world, config, [float(number % 3), 1.0, 0.0, 0.0], lean=lean)
    return world


def _run(world: World) -> None:
    world.begin()
    while not all(isinstance(node.core.stage, Resting) for node in world.nodes):
        world.run(seconds=1)


def _print(options: argparse.Namespace, world: World, wall: float, cpu: float, made_s: float) -> None:
    rounds = sum(len(node.rounds) for node in world.nodes)
    sent = sum(sum(node.sent.values()) for node in world.nodes)
    seen = sum(len(one.seen) for node in world.nodes for one in node.rounds)
    goal = GOAL_S * options.peers * options.rounds / 20_000
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if options.json:
        print(json.dumps({"wall_s": wall, "cpu_s": cpu, "events": world.events, "goal_s": goal}))
        return
    print(f"{options.peers} peers, {options.rounds} rounds, {options.degree} neighbours each")
    print(f"wall           {wall:.2f} s; goal {goal:.1f} s, ratio {wall / goal:.2f}")
    print(f"processor      {cpu:.2f} s; ratio {cpu / goal:.2f}")
    print(f"making peers   {made_s:.2f} s, not counted above")
    print(f"events         {world.events}, {world.events / cpu:.0f} in a second of the processor")
    print(f"rounds         {rounds}, {seen / rounds:.2f} neighbours weighed in each")
    print(f"bytes          {sent / rounds:.0f} sent a peer and round")
    print(f"virtual time   {world.now - 1_000_000:.0f} s; peak memory {peak_mb:.0f} MB")
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"machine        {os.cpu_count()} cores, load {load}")
    print(f"trace          {world.trace}")


if __name__ == "__main__":
    main()
