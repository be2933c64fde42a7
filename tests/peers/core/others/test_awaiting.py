"""Whom a round waits for, and how often in vain."""

from __future__ import annotations

import pytest

from gossipllm.config import LearnerConfig
from gossipllm.work import Merge, Weigh
from peers.core.config import NO_DEFENCE, DefenceConfig
from peers.core.effects import Effect, WakeAt
from peers.core.events import Connected
from peers.core.others.awaiting import VAIN_WAITS, VAIN_WAITS_OF_GROUP, Awaiting
from sim.toy.learner import fingerprints
from support.core_bench import Bench, RemotePeer, RoundOptions
from support.effects import every, only, requests
from support.running_core import neighbourhood

CROWD = "v4:203.0.113.7"
DISTILS = LearnerConfig(also="distil")
HEARS_AT_ONCE = DefenceConfig(commit=False)
"""Predictions count in the round in which they come, whoever was shown what."""


def waiting(bench: Bench) -> Awaiting:
    return neighbourhood(bench.core).awaiting


def join(bench: Bench, name: str, group: str = CROWD) -> RemotePeer:
    one = RemotePeer(name)
    bench.tell(Connected(peer=one.id, group=group))
    bench.tell(one.greet())
    return one


def test_a_silent_stranger_holds_two_rounds_and_no_more() -> None:
    bench = Bench(defence=DefenceConfig())
    bench.start()
    stranger = join(bench, "stranger")
    for _ in range(VAIN_WAITS):
        assert waiting(bench).is_awaited(stranger.id)
        waiting(bench).waited_in_vain([stranger.id])
    assert not waiting(bench).is_awaited(stranger.id)


def test_new_identities_of_one_address_hold_no_more_rounds_together_than_a_few() -> None:
    bench = Bench(defence=DefenceConfig())
    bench.start()
    held = 0
    for number in range(100):
        stranger = join(bench, f"stranger{number}")
        held += waiting(bench).is_awaited(stranger.id)
        if waiting(bench).is_awaited(stranger.id):
            waiting(bench).waited_in_vain([stranger.id])
    assert held == VAIN_WAITS_OF_GROUP
    assert waiting(bench).is_awaited(join(bench, "elsewhere", "v4:198.51.100.1").id)


def test_a_seated_neighbour_is_awaited_however_often_it_was_late() -> None:
    bench = Bench(defence=DefenceConfig())
    bench.start()
    friend = join(bench, "friend")
    for _ in range(VAIN_WAITS_OF_GROUP):
        waiting(bench).waited_in_vain([friend.id])
    bench.receive(friend)
    assert not waiting(bench).is_awaited(friend.id)
    for _ in range(2):
        neighbourhood(bench.core).seats.gained(friend.id)
    assert waiting(bench).is_awaited(friend.id)


def test_who_announces_in_every_other_round_holds_two_of_the_others_and_no_more() -> None:
    bench = Bench(defence=DefenceConfig())
    effects = bench.start()
    liar = join(bench, "liar")
    held: list[int] = []
    for round_ in range(8):
        if round_ % 2:
            bench.receive(liar, round_)
        effects = bench.publish(bench.answer(effects))
        if every(effects, WakeAt) and not requests(effects):
            held.append(round_)
            effects = bench.lose_patience(effects)
        effects = bench.finish(effects)
    assert held == [0, 2]


def test_with_a_barrier_or_without_confirmed_gains_nothing_is_counted() -> None:
    for bench in (Bench(rounds={"barrier": True}, defence=DefenceConfig()), Bench(defence=NO_DEFENCE)):
        bench.start()
        stranger = join(bench, "stranger")
        for _ in range(VAIN_WAITS_OF_GROUP):
            waiting(bench).waited_in_vain([stranger.id])
        assert waiting(bench).is_awaited(stranger.id)


# -- another base -------------------------------------------------------------------------------------


class Taught:
    """A bench whose neighbours hold another base. Each announces in its first round, which ends."""

    def __init__(
        self, *teachers: RemotePeer, learner: LearnerConfig = DISTILS, rounds: RoundOptions | None = None
    ) -> None:
        self.bench = Bench(defence=HEARS_AT_ONCE, learner=learner, rounds=rounds)
        effects = self.bench.start()
        for one in teachers:
            self.bench.tell(Connected(peer=one.id))
            self.bench.tell(one.greet(base="other"))
            self.hear(one, 0)
        ended = self.bench.finish(self.bench.publish(self.bench.answer(effects)))
        self.published = self.bench.publish(self.bench.answer(ended))
        """The effects of its second announcement."""

    def hear(self, one: RemotePeer, round_: int) -> list[Effect]:
        """Its predictions come, and are weighed."""
        effects = self.bench.receive(one, round_, fingerprints=fingerprints("other"))
        weighs = [asked for asked in requests(effects) if isinstance(asked, Weigh)]
        return [done for asked in weighs for done in self.bench.tell(self.bench.learner.answer(asked))]


@pytest.mark.parametrize("barrier", [False, True])
def test_a_peer_that_distils_waits_for_predictions_of_another_base(barrier: bool) -> None:
    teacher = RemotePeer("teacher")
    taught = Taught(teacher, rounds={"barrier": barrier})

    came = taught.hear(teacher, 1)

    assert not requests(taught.published)
    assert len(only(came, Merge).lessons) == 1


def test_a_teacher_that_was_met_and_has_announced_nothing_yet_is_awaited() -> None:
    bench = Bench(defence=HEARS_AT_ONCE, learner=DISTILS)
    bench.start()
    teacher, nobody = RemotePeer("teacher"), RemotePeer("nobody")
    bench.tell(Connected(peer=teacher.id))
    bench.tell(teacher.greet(base="other"))
    assert waiting(bench).is_awaited(teacher.id)
    assert not waiting(bench).is_awaited(nobody.id)


def test_a_peer_that_only_compares_another_base_does_not_wait_for_it() -> None:
    taught = Taught(RemotePeer("stranger"), learner=LearnerConfig())
    assert requests(taught.published)


def test_a_late_teacher_holds_a_round_until_patience_ends_and_teaches_with_what_it_sent_before() -> None:
    teacher = RemotePeer("teacher")
    taught = Taught(teacher)

    over = taught.bench.lose_patience(taught.published)
    (weigh,) = requests(over)
    merging = taught.bench.tell(taught.bench.learner.answer(weigh))

    assert [one.evidence for one in only(merging, Merge).lessons] == [teacher.evidence]


def test_a_teacher_counts_for_the_quorum() -> None:
    sooner, later = RemotePeer("sooner"), RemotePeer("later")
    taught = Taught(sooner, later, rounds={"quorum": 1})
    assert every(taught.hear(sooner, 1), Weigh), "what the later one sent before is asked about"


def test_a_teacher_that_is_always_late_holds_two_rounds_and_no_more() -> None:
    teacher = RemotePeer("teacher")
    taught = Taught(teacher)
    awaiting = waiting(taught.bench)
    for _ in range(VAIN_WAITS):
        assert awaiting.is_awaited(teacher.id)
        awaiting.waited_in_vain([teacher.id])
    assert not awaiting.is_awaited(teacher.id)
