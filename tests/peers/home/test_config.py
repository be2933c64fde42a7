"""peer.toml as a whole: what holds between its tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipllm.config import ReferenceConfig, TrainingConfig
from peers.home.config import MergeConfig, PeerConfig, load_config
from peers.home.settings import write_config
from trust.errors import UserMistake
from trust.rows.config import Reduction
from trust.rows.rows import TrustConfig
from wire.updates.packing import Packing


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


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[heads]\ncopies = 1", "adapter.train"),
        ('[merge]\nmixing = "push-sum"\n[layers]\ncount = 1', "push-sum"),
        ('[adapter]\ntrain = "heads"\n[heads]\ncopies = 1\n[layers]\ncount = 1', "heads.copies"),
        (
            '[layers]\ncount = 1\ncontext = "distil"\ncontexts = "fetch"\n[round]\nmost_context_mb = 600',
            "network.max_blob_bytes",
        ),
        ('[merge]\nalso = "distil"\n[round]\nguard = false', "round.guard = true"),
        ('[merge]\nalso = "distil"\n[defence]\nconfirm = false', "defence.confirm = true"),
        ('[merge]\nalso = "self-distil"\n[defence]\nbind_rows = 0', "defence.bind_rows above 0"),
        ('[merge]\nalso = "distil"\nmixing = "push-sum"', "merge.mixing"),
        (
            '[merge]\nalso = "distil"\n[trust]\nstrategy = "weights"\n[reference]\npositions = "last"',
            "reference.positions",
        ),
        ("[merge]\ndistil_share = 2.0", "distil_share must be in"),
    ],
)
def test_what_contradicts_itself_between_tables_is_a_line_and_no_traceback(
    tmp_path: Path, text: str, named: str
) -> None:
    (tmp_path / "peer.toml").write_text(text)
    with pytest.raises(UserMistake, match=named):
        load_config(tmp_path / "peer.toml")


@pytest.mark.parametrize(("reduction", "alpha"), [("tokens", 1.0), ("sequences", 0.0)])
def test_how_tokens_count_follows_from_what_the_loss_is_a_mean_of(reduction: Reduction, alpha: float) -> None:
    config = PeerConfig(training=TrainingConfig(reduction=reduction))
    assert config.core().learner.tokens_alpha == alpha
    fixed = PeerConfig(training=TrainingConfig(reduction=reduction), trust=TrustConfig(tokens_alpha=0.25))
    assert fixed.core().learner.tokens_alpha == 0.25


def test_distilling_is_set_for_the_learner_and_the_core(tmp_path: Path) -> None:
    (tmp_path / "peer.toml").write_text('[merge]\nalso = "distil"\ndistil_share = 0.1')
    core = load_config(tmp_path / "peer.toml").core()
    assert core.distils
    assert (core.learner.also, core.learner.distil_share) == ("distil", 0.1)
    assert not PeerConfig().core().distils


def test_what_needs_no_predictions_goes_with_any_positions() -> None:
    PeerConfig(trust=TrustConfig(strategy="weights"), reference=ReferenceConfig(positions="last"))


@pytest.mark.parametrize(
    ("text", "idle"),
    [
        ("[trust]\ntokens_power = 1.0", "trust.tokens_power"),
        ('[trust]\nstrategy = "learned"', "trust.strategy"),
        ('[trust]\ntokens_count = "total"', "trust.tokens_count"),
        ("[round]\nguard = false", "round.guard"),
        ('rule = "mean"', "merge.rule"),
    ],
)
def test_what_steers_rows_is_refused_where_there_are_none(tmp_path: Path, text: str, idle: str) -> None:
    (tmp_path / "peer.toml").write_text(f'[merge]\nmixing = "push-sum"\n{text}')
    with pytest.raises(UserMistake, match=f'{idle} does nothing with merge.mixing = "push-sum"'):
        load_config(tmp_path / "peer.toml")


def test_pushing_goes_with_every_default_and_with_what_counts_there(tmp_path: Path) -> None:
    pushing = MergeConfig(mixing="push-sum")
    write_config(tmp_path / "peer.toml", PeerConfig(merge=pushing))
    assert load_config(tmp_path / "peer.toml").merge == pushing
    PeerConfig(merge=pushing, trust=TrustConfig(tokens_alpha=0.5, max_age=2))


@pytest.mark.parametrize(
    ("text", "packing"),
    [
        ('[network]\npacking = "auto"', "normal"),
        ('[network]\npacking = "auto"\nupload_bytes_s = 1_000_000', "normal"),
        ('[network]\npacking = "auto"\nupload_bytes_s = 999_999', "tight"),
        ("", "normal"),
        ("[network]\nupload_bytes_s = 50_000", "tight"),
        ('[network]\nupload_bytes_s = 50_000\npacking = "whole"', "whole"),
        ('[network]\npacking = "fine"', "fine"),
    ],
)
def test_packing_follows_the_link_where_it_is_to(tmp_path: Path, text: str, packing: Packing) -> None:
    (tmp_path / "peer.toml").write_text(text)
    assert load_config(tmp_path / "peer.toml").learner().packing == packing
