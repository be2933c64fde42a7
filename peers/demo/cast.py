"""Who plays in the demo: peers with names, each with a part of a text in its own language."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gossipllm.config import DataConfig, ModelConfig, TrainingConfig
from gossipllm.text.data import demo_share
from peers.config import PeerConfig, SelfConfig, write_config
from peers.core.config import RoundConfig
from peers.home import Home
from peers.identity import Identity
from peers.net.config import NetworkConfig

CAST = (("amelie", "fr"), ("basile", "fr"), ("clara", "de"), ("dirk", "de"))
"""Two peers for each of two languages: enough for everybody to have somebody to learn from, and somebody not to."""

PARTS = 4
"""Each peer reads a quarter of its language's text: too little to learn the language from alone."""


@dataclass(frozen=True, slots=True)
class Player:
    """One peer of the demo. `language` is that of its text: "fr" or "de"."""

    name: str
    language: str
    home: Home
    config: PeerConfig
    peer: str


def make_cast(folder: Path, *, peers: int, rounds: int, steps: int, threads: int) -> tuple[Player, ...]:
    """Write texts and homes for the first `peers` of the cast into `folder`.

    With two peers they are of one language, since a peer without a relative has nothing to gain.
    """
    cast = CAST[:peers]
    (folder / "text").mkdir(parents=True)
    (folder / "peers").mkdir()
    players: list[Player] = []
    for index, (name, language) in enumerate(cast):
        alike = [other for other, theirs in cast if theirs == language]
        text = folder / "text" / f"{name}.txt"
        text.write_text(demo_share(language, part=alike.index(name), of=PARTS), encoding="utf-8")
        config = PeerConfig(
            peer=SelfConfig(name=name, network="gossipllm-demo"),
            network=NetworkConfig(listen="/ip4/127.0.0.1/tcp/0"),
            round=RoundConfig(steps=steps, rounds=rounds, patience_s=60.0, compare_every_s=5.0),
            model=ModelConfig(threads=threads),
            data=DataConfig(path=str(text.absolute()), trust_windows=8, test_windows=24),
            training=TrainingConfig(
                learning_rate=1e-2,
                warmup_steps=min(5, rounds * steps - 1),
                decay_steps=rounds * steps,
                seed=index,
            ),
        )
        home = Home(folder / "peers" / name)
        home.folder.mkdir(mode=0o700)
        identity = Identity.generate()
        identity.save(home.identity)
        write_config(home.config, config)
        players.append(Player(name, language, home, config, identity.peer_id))
    return tuple(players)
