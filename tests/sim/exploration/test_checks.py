"""Every invariant is seen violated by a core, a disk or a network with one fault, and holds without it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gossipllm.config import Evidence
from gossipllm.work import Confirmed, Merged, Train, Trained
from peers.core.asking import Asking
from peers.core.config import CoreConfig
from peers.core.core import Core
from peers.core.effects import Effect
from peers.core.events import PeerId
from peers.core.others import inbox
from peers.core.others.admission import Keys, Ledger, Rejected
from peers.core.others.blobs.pulls import Fetch, Pulls
from peers.core.others.connected.greetings import Greetings
from peers.core.others.connected.relation import Relations
from peers.core.others.inbox import Inbox, ReceivedAnnouncement
from peers.core.others.standing.budgets import Meter
from peers.core.round import advancing, ending, gathering, records
from peers.core.round.decision import deciding
from peers.core.round.decision.choosing import Choice
from peers.core.round.decision.confirming import Confirmer
from peers.core.round.memory.remembering import after_steps
from peers.core.round.memory.settling import Settling
from peers.core.round.rounds import Rounds
from peers.core.round.stages import Merging, Participant
from peers.core.saved import Saved
from sim.exploration.checks.table import INVARIANTS, RAISED, TRACE
from sim.exploration.faults import Crash, Cut, LearnerDeath
from sim.exploration.hostile.peer import HostilePart
from sim.exploration.plan import Plan
from sim.toy.units import SCHEMAS
from sim.world import world
from sim.world.conditions import TopologyConfig
from sim.world.links.line import Line
from support.explored import plan_of, violated, with_bases, with_settling, with_strategy
from trust.record.history import Relation, Round
from trust.rows.bounds import Row
from trust.rows.rows import Candidate, Neighbour, TrustConfig
from wire.codec import Frame
from wire.digest import Content
from wire.updates.packed_updates import unpack_update

CRASHES = [
    Crash(peer=1, at_s=at_s, until_s=at_s + 0.2, damages=False, clock_jumps_s=0.0)
    for at_s in (5.0, 6.6, 8.6, 10.9, 13.5, 16.0, 18.4)
]
SPLIT = Cut(one=frozenset({0}), other=frozenset({1, 2}), at_s=1.0, until_s=19.0)
DEATH = LearnerDeath(peer=1, at_s=6.0, hangs_s=0.0)
MIXED = with_bases(plan_of(), "toy", "toy", "another")
TONGUES = with_bases(plan_of(), "toy", "toy", "tongue:another")
SETTLING = with_settling(plan_of(quiet_s=200.0), patience=2)


def act(name: str, *, identities: int = 1, every_s: float = 0.5) -> HostilePart:
    return HostilePart(act=name, identities=identities, at_s=5.0, until_s=18.0, every_s=every_s, seed=3)


@pytest.mark.parametrize(
    "plan",
    [
        plan_of(*CRASHES, DEATH),
        plan_of(act("replay")),
        plan_of(act("not-finite")),
        plan_of(act("opposite")),
        plan_of(act("strangers")),
        plan_of(act("false-packing")),
        with_strategy(
            with_bases(plan_of(act("false-byte-rows")), "toy", "toy", "tongue:another"), "predictions"
        ),
        plan_of(SPLIT, rounds=5),
        SETTLING,
        MIXED,
        with_strategy(MIXED, "predictions"),
        with_strategy(TONGUES, "predictions"),
    ],
)
def test_nothing_is_violated_without_a_fault_of_the_core(plan: Plan) -> None:
    assert violated(plan) == set()


def test_a_frame_that_is_accepted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    put = Inbox.put

    def puts_again(self: Inbox, entry: ReceivedAnnouncement, **more: Any) -> bool:
        return put(self, entry, **more) or True

    monkeypatch.setattr(Ledger, "_remember", _nothing)
    monkeypatch.setattr(Inbox, "put", puts_again)

    assert "accepted-once" in violated(plan_of(act("replay")))


def test_a_bad_update_that_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pulls, "check", _nothing)
    monkeypatch.setattr(deciding, "judged", _takes_the_first)

    assert "gates-before-weight" in violated(plan_of(act("loud")))


def test_a_packed_form_that_is_not_held_against_the_announced_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    def unpacked(self: Pulls, fetch: Fetch, content: Content) -> Content:
        assert fetch.packing is not None
        base, schema = fetch.packing.base, SCHEMAS["whole"]
        held = None if base is None else base.data
        return Content.of(unpack_update(content.data, schema, fetch.entry.announcement.offer, held))

    monkeypatch.setattr(Pulls, "unpacked", unpacked)

    assert "gates-before-weight" in violated(plan_of(act("false-packing")))


def test_byte_rows_that_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pulls, "check", _nothing)
    plan = with_strategy(
        with_bases(plan_of(act("false-byte-rows")), "toy", "toy", "tongue:another"), "predictions"
    )

    assert "gates-before-weight" in violated(plan)


def test_an_update_that_is_not_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "evidence_of", _no_evidence)
    monkeypatch.setattr(deciding, "candidate_rows", _halves)

    assert "gates-before-weight" in violated(with_strategy(plan_of(), "weights"))


def test_a_guard_that_takes_what_is_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "judged", _takes_the_first)

    assert {"rows", "gates-before-weight"} <= violated(plan_of(act("opposite")))


def test_a_neighbour_that_harms_by_itself_and_is_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    def takes_all(_: Confirmer, members: Sequence[Participant], __: Confirmed) -> Sequence[Participant]:
        return members

    monkeypatch.setattr(Confirmer, "judged", takes_all)

    assert "gates-before-weight" in violated(with_strategy(plan_of(act("opposite")), "uniform"))


def test_newcomers_without_a_joint_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    def unbounded(row: Row, *_: object, **__: object) -> Row:
        return row

    monkeypatch.setattr(deciding, "bounded", unbounded)

    assert "rows" in violated(with_strategy(plan_of(), "uniform"))


def test_a_row_that_does_not_sum_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "round_record", _with_more_weight)

    assert violated(plan_of()) == {"rows"}


def test_a_restart_that_announces_a_round_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def trains_again(self: Rounds, now: float) -> list[Effect]:
        return self._train(now)

    monkeypatch.setattr(Rounds, "_resume", trains_again)

    assert "one-announcement" in violated(plan_of(*CRASHES))


def test_an_announcement_before_it_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    def publishes_at_once(self: Rounds, saved: Saved) -> list[Effect]:
        return self._publish(saved, 0.0)

    monkeypatch.setattr(Rounds, "_store", publishes_at_once)

    assert "one-announcement" in violated(plan_of())


def test_a_disk_that_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "Core", _without_its_state)

    # Whoever hears its own key sign what it has forgotten takes that for a copy of itself, and stops.
    assert {"rounds-never-fall", "no-honest-fined"} <= violated(plan_of(*CRASHES))


def test_an_inbox_without_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    def always(*_: object) -> bool:
        return True

    monkeypatch.setattr(inbox, "MAX_AUTHORS", 10**6)
    monkeypatch.setattr(Meter, "take", always)

    assert "caps" in violated(plan_of(act("strangers", every_s=0.2)))


def test_news_that_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_frames(*_: object) -> tuple[bytes, ...]:
        return ()

    monkeypatch.setattr(Greetings, "_newer_than", no_frames)

    assert violated(plan_of(SPLIT, rounds=5)) == {"news"}


def test_young_news_that_only_their_author_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    def own_frames(self: Greetings, *_: object) -> tuple[bytes, ...]:
        return (self._own_frame,) if self._own_frame else ()

    plan = plan_of(
        Cut(one=frozenset({0}), other=frozenset(range(1, 6)), at_s=1.0, until_s=19.0), rounds=5, peers=6
    )
    sparse = replace(
        plan, conditions=replace(plan.conditions, topology=TopologyConfig(kind="random", degree=2))
    )
    assert violated(sparse) == set()
    monkeypatch.setattr(Greetings, "_newer_than", own_frames)

    assert violated(sparse) == {"news"}


def test_a_peer_that_pays_for_what_it_could_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Ledger._known_before

    def harsh(self: Ledger, frame: Frame) -> Rejected | None:
        return Rejected("announcement.round", "again", -1.0) if known(self, frame) else None

    monkeypatch.setattr(Ledger, "_known_before", harsh)

    assert "no-honest-fined" in violated(plan_of())


def test_a_learner_that_is_not_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(_: Rounds) -> list[Effect]:
        return []

    monkeypatch.setattr(Rounds, "reopen", waits)

    assert "progress" in violated(plan_of(DEATH))


def test_a_peer_that_goes_back_to_a_state_that_is_not_its_best(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(config: CoreConfig, saved: Saved, trained: Trained) -> Saved:
        return msgspec.structs.replace(after_steps(config, saved, trained), best=None)

    monkeypatch.setattr(advancing, "after_steps", forgets)

    assert "rest" in violated(SETTLING)


def test_a_peer_that_trains_while_it_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    train = Rounds._train

    def always_trains(self: Rounds, now: float) -> list[Effect]:
        return [
            msgspec.structs.replace(one, steps=2) if isinstance(one, Train) else one
            for one in train(self, now)
        ]

    monkeypatch.setattr(Rounds, "_train", always_trains)

    assert "rest" in violated(SETTLING)


def test_a_settled_peer_that_looks_whenever_it_hears_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settling, "rest", _nothing)

    assert "rest" in violated(SETTLING)


def test_a_peer_that_takes_every_base_for_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def merges(*_: object) -> Relation:
        return "merges"

    monkeypatch.setattr(Relations, "to", merges)

    assert "own-base" in violated(MIXED)


def test_a_core_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(*_: object) -> bytes:
        raise KeyError

    monkeypatch.setattr(Greetings, "reply", raises)

    assert RAISED in violated(plan_of())


def test_chance_that_no_seed_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    def any_time(_: Line) -> float:
        return random.random()

    monkeypatch.setattr(Line, "latency_s", any_time)

    assert TRACE in violated(plan_of(seed=10))


def test_every_invariant_of_the_table_has_its_fault_here() -> None:
    seen = {
        *("accepted-once", "gates-before-weight", "one-announcement", "rows", "caps", "news"),
        *("rounds-never-fall", "no-honest-fined", "progress", "rest", "own-base"),
    }
    assert seen == set(INVARIANTS)


def _nothing(*_: object) -> None:
    pass


def _no_evidence(_: TrustConfig) -> tuple[Evidence, ...]:
    return ()


def _takes_the_first(candidates: Sequence[Candidate], *_: object, **__: object) -> Choice:
    return Choice(candidates[0].row, None, "taken")


def _halves(
    _: TrustConfig, neighbours: Sequence[Neighbour], *__: object, **___: object
) -> tuple[Candidate, ...]:
    others = len(neighbours)
    return (Candidate(None, (0.5, *(0.5 / others for _ in neighbours)) if others else (1.0,)),)


def _with_more_weight(
    peer: PeerId,
    *,
    saved: Saved,
    stage: Merging,
    merged: Merged,
    rate: float,
    settled: bool,
    asking: Asking,
) -> Round:
    record = records.round_record(
        peer, saved=saved, stage=stage, merged=merged, rate=rate, settled=settled, asking=asking
    )
    return msgspec.structs.replace(record, self_weight=record.self_weight + 0.01)


def _without_its_state(config: CoreConfig, keys: Keys, _: Saved | None) -> Core:
    return Core(config, keys, None)
