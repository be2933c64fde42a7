"""Which rounds count as those in which neighbours helped."""

from __future__ import annotations

import msgspec
import pytest

from gossipllm.config import LearnerConfig
from gossipllm.work import Confirm, Confirmation, Confirmed, Merge, Merged
from peers.core.config import DefenceConfig
from peers.core.effects import Store
from peers.core.saved import Saved
from sim.toy.learner import fingerprints
from support.core_bench import Bench, RemotePeer
from support.effects import only, requests
from trust.record.history import Distilled

USELESS = Confirmation(gain=-0.5, error=0.1, mismatch=0.0, twin=0, size=1.0)
KEPT = Distilled(steps=1, rows=1, taught=1, kl_before=1.0, kl_after=0.5, share=1.0, gain=0.1)


def ended(*, foreign: bool, distilled: Distilled | None) -> Saved:
    """The state after a round beside a peer of this base that does not help, and perhaps one of another base, in which
    this was distilled. One such round begins a pause."""
    defence = DefenceConfig(commit=False, fruitless=1)
    bench = Bench(defence=defence, learner=LearnerConfig(also="distil"))
    effects = bench.start()
    bench.receive(RemotePeer("kin"))
    if foreign:
        bench.receive(RemotePeer("teacher"), fingerprints=fingerprints("other"))
    effects = bench.publish(bench.answer(effects))
    waiting = requests(effects)
    while True:
        request = waiting.pop(0)
        answer = bench.learner.answer(request)
        if isinstance(request, Confirm):
            results = tuple(USELESS for _ in request.finalists)
            answer = Confirmed(request=request.request, own_loss=1.0, results=results)
        if isinstance(answer, Merged):
            answer = msgspec.structs.replace(answer, distilled=distilled)
        effects = bench.tell(answer)
        if isinstance(request, Merge):
            return only(effects, Store).saved
        waiting += requests(effects)


@pytest.mark.parametrize(
    ("foreign", "share", "pauses"), [(True, 1.0, False), (True, 0.0, True), (False, 1.0, True)]
)
def test_steps_toward_another_base_that_were_kept_are_help(foreign: bool, share: float, pauses: bool) -> None:
    after = ended(foreign=foreign, distilled=msgspec.structs.replace(KEPT, share=share))
    assert (after.asking.waits > 0) == pauses
