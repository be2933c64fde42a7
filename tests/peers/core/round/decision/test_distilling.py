"""Distilling in the core: predictions are fetched for it, and only confirmed members of the row teach."""

from __future__ import annotations

import msgspec
import pytest

from gossipllm.config import LearnerConfig
from gossipllm.config.choices import TAUGHT
from gossipllm.work import Confirm, Confirmation, Confirmed, Evaluate, Merge, Merged
from peers.core.config import DefenceConfig
from peers.core.effects import Effect, Pull
from peers.core.events import Heard
from support.core_bench import Bench, RemotePeer, update_of
from support.effects import every, requests, round_record
from trust.record.history import Distilled
from trust.rows.rows import TrustConfig

GOOD = Confirmation(gain=0.5, error=0.1, mismatch=0.0, twin=0, size=1.0)
UNBOUND = msgspec.structs.replace(GOOD, mismatch=0.9)
USELESS = msgspec.structs.replace(GOOD, gain=0.0)
WEIGHTS = TrustConfig(strategy="weights")
DEFENCE = DefenceConfig(newcomers=1.0, own_share=0.0, commit=False)
DISTILS = LearnerConfig(also="distil")


def bench_of(
    learner: LearnerConfig = DISTILS, *, defence: DefenceConfig = DEFENCE, merges: bool = True
) -> Bench:
    return Bench(trust=WEIGHTS, learner=learner, defence=defence, merges=merges)


@pytest.fixture
def others() -> list[RemotePeer]:
    return [
        RemotePeer(name, update=update_of([1.0, 0.1 * n, 0.0, 0.0]))
        for n, name in enumerate(("ann", "ben", "cleo"), start=1)
    ]


def merge_after(bench: Bench, others: list[RemotePeer], results: dict[str, Confirmation]) -> Merge:
    """The merge that a round asks for in which trying the neighbours by themselves gave these results, by name."""
    effects = bench.start()
    for other in others:
        bench.receive(other)
    asked = requests(bench.publish(bench.answer(effects)))
    names = {other.id: other.name for other in others}
    while True:
        request = asked.pop(0)
        if isinstance(request, Merge):
            return request
        answer = bench.learner.answer(request)
        if isinstance(request, Confirm):
            found = [
                msgspec.structs.replace(results[names[one.author]], twin=index)
                for index, one in enumerate(request.finalists)
            ]
            answer = Confirmed(request=request.request, own_loss=1.0, results=tuple(found))
        asked += requests(bench.tell(answer))


def fetched(bench: Bench, other: RemotePeer) -> set[bytes]:
    bench.start()
    effects: list[Effect] = bench.tell(Heard(frame=other.announce(inline=False), via=other.id))
    found: set[bytes] = set()
    while pulls := every(effects, Pull):
        found |= {pull.digest for pull in pulls}
        effects = [effect for pull in pulls for effect in bench.give(pull, other)]
    return found


def test_predictions_are_fetched_where_they_are_distilled_and_not_compared(others: list[RemotePeer]) -> None:
    ann, *_ = others
    for also in TAUGHT:
        assert fetched(bench_of(LearnerConfig(also=also)), ann) >= {ann.update.digest, ann.evidence.digest}
    assert ann.evidence.digest not in fetched(bench_of(LearnerConfig()), ann)
    assert ann.evidence.digest not in fetched(bench_of(LearnerConfig(also="self-distil")), ann)


@pytest.mark.parametrize(
    "defence",
    [
        DefenceConfig(confirm=False, bind_rows=0, commit=False),
        DefenceConfig(bind_rows=0, commit=False),
    ],
)
def test_nothing_is_fetched_that_could_not_be_held_against_updates(
    defence: DefenceConfig, others: list[RemotePeer]
) -> None:
    assert others[0].evidence.digest not in fetched(bench_of(defence=defence), others[0])


def test_only_members_that_were_confirmed_teach(others: list[RemotePeer]) -> None:
    merge = merge_after(bench_of(), others, {"ann": GOOD, "ben": UNBOUND, "cleo": USELESS})
    assert [lesson.update for lesson in merge.lessons] == [others[0].update] == list(merge.updates)
    assert [lesson.weight for lesson in merge.lessons] == list(merge.row[1:])
    assert merge.lessons[0].evidence == others[0].evidence
    assert merge.local_steps == 1


def test_predictions_are_held_against_updates_where_they_are_only_distilled(others: list[RemotePeer]) -> None:
    bench = bench_of()
    effects = bench.start()
    bench.receive(others[0])
    asked = requests(bench.publish(bench.answer(effects)))
    while not isinstance(asked[0], Confirm):
        asked += requests(bench.tell(bench.learner.answer(asked.pop(0))))
    (finalist,) = asked[0].finalists
    assert finalist.evidence == others[0].evidence
    # The toy network has one row.
    assert finalist.rows == (0,)


def test_without_merges_the_members_teach_all_the_same(others: list[RemotePeer]) -> None:
    merge = merge_after(bench_of(merges=False), others, dict.fromkeys(("ann", "ben", "cleo"), GOOD))
    assert (merge.row, merge.updates) == ((1.0,), ())
    assert {lesson.update for lesson in merge.lessons} == {other.update for other in others}


def test_nobody_teaches_where_nothing_asks_for_it(others: list[RemotePeer]) -> None:
    merge = merge_after(bench_of(LearnerConfig()), others, dict.fromkeys(("ann", "ben", "cleo"), GOOD))
    assert (merge.lessons, merge.local_steps) == ((), 0)


def test_the_history_has_what_distilling_did(others: list[RemotePeer]) -> None:
    bench = bench_of()
    merge = merge_after(bench, others, dict.fromkeys(("ann", "ben", "cleo"), GOOD))
    done = Distilled(steps=2, rows=8, taught=3, kl_before=0.5, kl_after=0.25, share=0.5, gain=0.01)
    answer = bench.learner.answer(merge)
    assert isinstance(answer, Merged)
    ended = bench.tell(msgspec.structs.replace(answer, distilled=done))
    assert round_record(ended).distilled == done
    assert not every(ended, Evaluate)
