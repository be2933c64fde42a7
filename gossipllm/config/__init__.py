"""The configuration of a learner: model, adapter, data, training, reference set. No torch here.

These classes are here rather than beside the code that reads them, because the network's process reads them too and
must not import torch. `toml.py` reads them from TOML. The docstring under each field is what `gossipllm config` prints,
so it says what the field does, its unit, its range and where its default comes from.
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
