"""The fingerprints that a home's peer would announce, computed without its text and without training. Loads torch."""

from __future__ import annotations

from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.learning.shared_model import load_shared_model
from peers.home.config import PeerConfig
from wire.messages import Fingerprints


def fingerprints_of(config: PeerConfig) -> Fingerprints:
    """Raises `UserMistake` where the model or the reference text of the settings is missing."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    learner = config.learner()
    # Alone, as the peer loads it: where the base is held in few bits, the whole base may not fit into memory.
    materials = load_shared_model(learner, lambda _phase, _step: None, alone=True)
    return materials.fingerprints(UpdateFormat(materials.blueprint(learner.adapter), learner.mixing))
