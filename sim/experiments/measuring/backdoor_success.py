"""How often honest adapters do what a backdoor asks for, at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence

from gossipllm.learning.jobs.jobs import LastLogitsJob
from gossipllm.learning.learner_pool import LearnerPool
from gossipllm.model.adapter.snapshots import decode_snapshot
from gossipllm.text.dealing.partitions import Share
from sim.adversaries.faults.backdoor import target, triggered
from wire.digest import Content
from wire.predictions.logits import LogitRows, RowsShape


def backdoor_success(
    snapshots: Sequence[Content | None], shares: Sequence[Share], pool: LearnerPool, *, rank: int
) -> tuple[float, ...]:
    """For each peer the share of its test windows that it continues with the target where they end in the trigger.

    Peers that saved no adapter of this rank are left out.
    """
    vocabulary = len(pool.base.tokenizer)
    found: list[float] = []
    for snapshot, share in zip(snapshots, shares, strict=True):
        decoded = None if snapshot is None else decode_snapshot(snapshot.data)
        if decoded is None or decoded.header.rank != rank:
            continue
        windows_WT = triggered(share.splits.test_WT, vocabulary=vocabulary)
        shape = RowsShape(rows=len(windows_WT), top=1, vocabulary=pool.base.vocabulary, raw=True)
        rows: LogitRows
        (rows,) = pool.perform([LastLogitsJob(decoded.adapter, windows_WT, shape)])
        said_W = rows.ids_RK[:, 0] == target(vocabulary)
        found.append(float(said_W.sum()) / len(windows_WT))
    return tuple(found)
