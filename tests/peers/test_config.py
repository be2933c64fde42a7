"""peer.toml as a whole: what holds between its tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipllm.config import ReferenceConfig
from gossipllm.mistakes import UserMistake
from peers.config import MergeConfig, PeerConfig, load_config, write_config
from trust.rows import TrustConfig


@pytest.mark.parametrize(
    "config",
    [
        PeerConfig(),
        PeerConfig(
            trust=TrustConfig(strategy="product", product_of=("validation", "weights")),
            merge=MergeConfig(mixing="updates"),
        ),
        PeerConfig(
            trust=TrustConfig(strategy="predictions", form="paper-code"),
            reference=ReferenceConfig(positions="last"),
        ),
        PeerConfig(trust=TrustConfig(strategy="fixed", fixed=("alice=0.5", "bob=0.25"))),
    ],
)
def test_what_is_written_reads_back(tmp_path: Path, config: PeerConfig) -> None:
    write_config(tmp_path / "peer.toml", config)
    assert load_config(tmp_path / "peer.toml") == config


def test_the_learner_measures_what_trust_needs_and_mixes_what_merge_says() -> None:
    config = PeerConfig(
        trust=TrustConfig(strategy="product", product_of=("validation", "weights")),
        merge=MergeConfig(rule="mean", mixing="updates"),
    )
    learner = config.core().learner
    assert learner.evidence == ("validation", "weights")
    assert (learner.merge, learner.mixing) == ("mean", "updates")


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ('[trust]\nform = "paper-code"', "last"),
        ('[reference]\npositions = "last"', "all"),
        ('[trust]\nstrategy = "product"\n[reference]\npositions = "last"', "all"),
    ],
)
def test_predictions_need_the_positions_of_their_form(tmp_path: Path, text: str, needed: str) -> None:
    (tmp_path / "peer.toml").write_text(text)
    with pytest.raises(UserMistake, match=f'reference.positions must be "{needed}"'):
        load_config(tmp_path / "peer.toml")


def test_what_needs_no_predictions_goes_with_any_positions() -> None:
    PeerConfig(trust=TrustConfig(strategy="weights"), reference=ReferenceConfig(positions="last"))
