"""The peers of the demo: their names, and each one's text, home and configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gossipllm.config import DataConfig, ModelConfig, TrainingConfig
from gossipllm.text.reference import demo_share
from peers.commands.demo.scenarios import DemoScenario, Reading
from peers.core.config import RoundConfig
from peers.core.plateau import SettleConfig
from peers.home.config import PeerConfig, SelfConfig
from peers.home.folder import Home
from peers.home.making import make_home
from peers.net.config import NetworkConfig

BASE: Final = "base"
"""Folder of the random base of a scenario that has one."""
LONE: Final = "alone/peers"
"""Folder of the homes of lone twins (`alone.py`), below the demo's. One deeper than those of the demo's peers, so that
the commands that read histories take it for a run of its own."""
NAMES = ("amelie", "basile", "clara", "dirk")
SETTLE: Final = SettleConfig(patience=3, decays=1)
"""Less patience than by default: with so little text a peer has learned it by heart after some fifteen epochs."""


@dataclass(frozen=True, slots=True)
class DemoPeer:
    """One peer of the demo. `language` is that of its text: "fr" or "de", or "mixed"."""

    name: str
    language: str
    home: Home
    config: PeerConfig
    peer: str


def make_demo_peers(
    scenario: DemoScenario, folder: Path, *, peers: int, rounds: int, steps: int, threads: int
) -> tuple[DemoPeer, ...]:
    """Write texts and homes for the first `peers` names into `folder`.

    With two peers, both read the same language, because a peer without a related one has nothing to gain.
    """
    (folder / "text").mkdir(parents=True)
    (folder / "peers").mkdir()
    (folder / LONE).mkdir(parents=True)
    peers_of_demo: list[DemoPeer] = []
    for index, (name, reading) in enumerate(zip(NAMES[:peers], scenario.readings, strict=False)):
        text = folder / "text" / f"{name}.txt"
        text.write_text(_text(reading), encoding="utf-8")
        shared = PeerConfig(
            peer=SelfConfig(name=name, network="gossipllm-demo"),
            network=NetworkConfig(listen="/ip4/127.0.0.1/tcp/0"),
            round=RoundConfig(steps=steps, rounds=rounds, patience_s=60.0, compare_every_s=5.0),
            settle=SETTLE,
            model=ModelConfig(threads=threads)
            if not scenario.base
            else ModelConfig(threads=threads, name=str((folder / BASE).absolute())),
            # Much of the little text goes to the trust and test splits, or their noise would hide what is gained.
            data=DataConfig(
                path=str(text.absolute()),
                window_tokens=64,
                trust_fraction=0.15,
                test_fraction=0.25,
                trust_windows=16,
                test_windows=32,
            ),
            training=TrainingConfig(
                batch_windows=16, learning_rate=5e-3, warmup_steps=min(5, rounds * steps - 1), seed=index
            ),
        )
        config = scenario.configured(shared, index)
        home = Home(folder / "peers" / name)
        identity = make_home(home, config)
        peers_of_demo.append(DemoPeer(name, reading.name, home, config, identity.peer_id))
    return tuple(peers_of_demo)


def _text(reading: Reading) -> str:
    return "".join(
        demo_share(language, part=part, of=reading.of)
        for language in (reading.language, *reading.beside)
        for part in reading.parts
    )
