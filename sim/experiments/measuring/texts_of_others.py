"""How well each peer's best state reads each peer's test text, in bits a byte.

Where peers have models of unlike size and tokenizer, this shows who learned from whose text, which a perplexity on a
peer's own text does not. It is measured after the run, on all windows of the test splits, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gossipllm.config import LearnerConfig
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.learning.merging.averages import mean_loss, weights_of
from gossipllm.text.dealing.partitions import Share
from gossipllm.text.in_bytes.bits import bits_per_byte
from gossipllm.work import Open, Opened
from sim.experiments.shares import read_by_peers
from wire.digest import Content


def bits_of_texts(
    pool: LearnerPool,
    configs: Sequence[LearnerConfig],
    dealt: Sequence[Share],
    best: Sequence[Content | None],
) -> list[tuple[float, ...]]:
    """For each peer the bits a byte of each peer's test text, in the peers' order; empty for a peer without a best
    state. `dealt` are the shares as dealt, before each was read with its peer's tokenizer."""
    return [
        () if snapshot is None else tuple(_read(pool, config, share, snapshot) for share in dealt)
        for config, snapshot in zip(configs, best, strict=True)
    ]


def _read(pool: LearnerPool, config: LearnerConfig, dealt: Share, snapshot: Content) -> float:
    (share,) = read_by_peers([dealt], [config], pool)
    test_WT = share.splits.test_WT
    whole = replace(config, data=replace(config.data, test_windows=max(2, len(test_WT))))
    learner = pool.new_learner(whole, share.splits)
    (opened,) = pool.answer([(learner, Open(request=0, config=whole, snapshot=snapshot))])
    assert isinstance(opened, Opened), "a learner opens its own snapshot"
    (losses_W,) = pool.test_losses([learner])
    nats = mean_loss(losses_W, weights_of(test_WT, config.training.reduction))
    return bits_per_byte(nats, test_WT, pool.base_of(config).tokenizer)
