"""The saved state of an earlier version of the protocol."""

from __future__ import annotations

import msgspec

from peers.core.effects import Store
from peers.core.saved import spoken
from support.core_bench import Bench
from support.effects import only
from support.mixed_company import (
    CONFIRMING,
)


def test_a_home_of_version_2_goes_on_in_its_next_round() -> None:
    bench = Bench(defence=CONFIRMING)
    saved = only(bench.train(), Store).saved
    older = msgspec.structs.replace(saved, frame=b"GLA2" + saved.frame[4:])

    went_on = spoken(older)
    again = Bench(saved=older, defence=CONFIRMING)
    effects = again.publish(again.train())

    assert spoken(saved) == saved
    assert (went_on.round, went_on.stage, went_on.frame) == (saved.round + 1, "training", b"")
    assert went_on.snapshot == saved.snapshot
    assert effects
    assert again.core.round == saved.round + 1
