"""What a home's peer would say it has in common with others, without its text and without training. Loads the model."""

from __future__ import annotations

from gossipllm.learning.merging.updates import UpdateFormat
from gossipllm.learning.shared_model import load_shared_model
from peers.home.config import PeerConfig
from wire.messages import Fingerprints


def fingerprints_of(config: PeerConfig) -> Fingerprints:
    """Raises `UserMistake` where the settings ask for what is not there."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    learner = config.learner()
    # As the peer will hold it: where that is in few bits, the whole may not fit.
    materials = load_shared_model(learner, lambda _phase, _step: None, alone=True)
    return materials.fingerprints(UpdateFormat(materials.blueprint(learner.adapter), learner.mixing))
