"""What a learner is told is refused where it contradicts itself, in words that name the sections."""

from __future__ import annotations

from typing import Any

import pytest

from gossipllm.config import AdapterConfig, HeadsConfig, LayersConfig, LearnerConfig, ModelConfig

HEADS, DEALT, WINDOWS = AdapterConfig(train="heads"), HeadsConfig(copies=1), LayersConfig(count=1)


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"heads": HeadsConfig(copies=2)}, 'adapter.train = "heads".*: set that, or heads.copies = 0'),
        ({"heads": HeadsConfig(copies=1, mode="subnet")}, 'adapter.train = "heads"'),
        ({"adapter": HEADS, "heads": DEALT, "layers": WINDOWS}, r"layers\.count excludes heads\.copies: set"),
        (
            {"evidence": ("parameters",), "layers": WINDOWS},
            r'"paper-text".*: layers\.count must be 0; or set trust\.form = "ours"',
        ),
        (
            {"evidence": ("row-cosines",), "layers": LayersConfig(memory_mb=100)},
            r'"paper-code".*: layers\.memory_mb must be 0; or set trust\.form',
        ),
        (
            {"evidence": ("parameters",), "adapter": HEADS, "heads": DEALT},
            r"heads\.copies must be 0; or set trust\.form",
        ),
        (
            {"evidence": ("parameters",), "adapter": AdapterConfig(train="full")},
            r'adapter\.train must be .*, not "full"; or set trust\.form',
        ),
        ({"mixing": "push-sum", "layers": WINDOWS}, r'merge\.mixing = "push-sum".* layers\.count = 0'),
        (
            {"mixing": "push-sum", "adapter": AdapterConfig(modules=("q_proj",))},
            r'merge\.mixing = "push-sum".* adapter\.modules empty',
        ),
        (
            {"mixing": "push-sum", "adapter": AdapterConfig(start="own")},
            r'merge\.mixing = "push-sum".* adapter\.start = "shared"',
        ),
        ({"tokens_alpha": 1.5}, "tokens_alpha"),
        ({"adapter": AdapterConfig(prune=0.99)}, 'merge.rule = "pad"'),
        ({"adapter": AdapterConfig(prune=0.99, train="b"), "merge": "pad"}, 'adapter.train = "both"'),
        (
            {"adapter": AdapterConfig(prune=0.99), "merge": "pad", "mixing": "updates"},
            'merge.mixing = "parameters"',
        ),
        (
            {"adapter": AdapterConfig(prune=0.99), "merge": "pad", "evidence": ("parameters",)},
            "adapters of one rank",
        ),
    ],
)
def test_sections_that_contradict_each_other_are_named(sections: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LearnerConfig(model=ModelConfig(), **sections)


@pytest.mark.parametrize(
    ("section", "settings", "says"),
    [
        (LayersConfig, {"context": "drop"}, "needs count or memory_mb"),
        (LayersConfig, {"count": 1, "memory_mb": 100}, "exclude each other"),
        (LayersConfig, {"probe_every": 5}, "probe_every is of training in windows"),
        (HeadsConfig, {"mode": "subnet"}, "needs copies above 0"),
    ],
)
def test_a_setting_that_would_do_nothing_is_named(section: Any, settings: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        section(**settings)
