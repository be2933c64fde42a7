"""What a run asks its learner to choose, and where the answer is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from gossipllm.device.free_memory import free_memory
from gossipllm.device.plan.choice import Chosen, SettingsToChoose
from peers.home.automatic import Automatic, KeptChoice, keep_choice
from peers.home.config import PeerConfig
from trust.files import unwritten

LINK_BYTES_S: Final = 1.25e6
"""Guess where nothing is known of the link: 10 Mbit/s."""
NEIGHBOURS: Final = 4
"""Neighbours that a peer is planned for before it has met any. Guess."""
SOME_MEMORY: Final = 4e9
"""Guess where the system does not tell its memory."""
LIBRARIES: Final = 4e8
"""Bytes of the interpreter and its libraries in a learner (`peers.commands.preflight`)."""


def choosing_for(automatic: Automatic, config: PeerConfig) -> SettingsToChoose | None:
    """What the learner shall choose: nothing where all is given, or chosen before."""
    if not automatic.keys or automatic.chosen is not None:
        return None
    upload = config.network.upload_bytes_s
    return SettingsToChoose(
        keys=automatic.all_keys,
        memory_bytes=float(free_memory() or SOME_MEMORY) - LIBRARIES,
        neighbours=min(NEIGHBOURS, config.round.most_partners),
        link_bytes_s=min(LINK_BYTES_S, upload) if upload else LINK_BYTES_S,
    )


def adopted(path: Path, automatic: Automatic, warn: Callable[[str], object], chosen: Chosen) -> None:
    """Keep what was chosen. Where it cannot be written, the next run chooses again."""
    try:
        keep_choice(path, KeptChoice(kind=automatic.kind, chosen=chosen))
    except OSError as error:
        warn(f"{unwritten(path, error)}; the next run chooses again")
