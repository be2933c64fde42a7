"""What a learner is told: model, adapter, data, training, reference set. No torch here.

These stand together rather than beside the code they steer, because the network process reads them too
and must not import torch. `settings.py` turns TOML into them; the docstring under each field is what
`gossipllm init` writes above it, so it says what the field does, its unit, its range and where its
default comes from.
"""

from gossipllm.config.adapter import AdapterConfig
from gossipllm.config.learner import LearnerConfig
from gossipllm.config.model import EMBEDDED, ModelConfig
from gossipllm.config.parts import HeadsConfig, LayersConfig
from gossipllm.config.text import DataConfig, ReferenceConfig
from gossipllm.config.training import TrainingConfig
from trust.rows.evidence_kinds import Evidence

__all__ = [
    "EMBEDDED",
    "AdapterConfig",
    "DataConfig",
    "Evidence",
    "HeadsConfig",
    "LayersConfig",
    "LearnerConfig",
    "ModelConfig",
    "ReferenceConfig",
    "TrainingConfig",
]
