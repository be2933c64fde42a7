"""From those who gathered to one row, by every strategy: what is asked of the learner, and what is merged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias, Unpack

import msgspec
import numpy as np
import pytest

from gossipllm.work import Evaluate, Evaluated, Failed, Fit, Fitted, Merge, Open, Weigh, Weighed
from peers.core.config import DefenceConfig
from peers.core.effects import Effect, Store, WakeAt
from peers.core.events import Heard, Started, Woke
from peers.core.round.stages import Fitting
from sim.toy.learner import EVIDENCE
from support.core_bench import Bench, RemotePeer, RoundOptions, update_of
from support.effects import every, only, records, refusal_record, round_record
from trust.record.history import Begun, Round
from trust.rows.certainty import Merits
from trust.rows.rows import TrustConfig, evidence_of
from trust.rows.strategies import Form
from wire.digest import Content
from wire.predictions.logits import LogitRows, RowsShape, encode_logits

Effects: TypeAlias = list[Effect]
People: TypeAlias = tuple[RemotePeer, RemotePeer]
Gather: TypeAlias = Callable[..., Effects]


@pytest.fixture
def gather() -> Gather:
    """Start, hear of these neighbours, train: up to the first question about them."""

    def begin(bench: Bench, *others: RemotePeer, effects: Effects | None = None, round_: int = 0) -> Effects:
        effects = bench.start() if effects is None else effects
        for other in others:
            bench.receive(other, round_)
        return bench.publish(bench.answer(effects))

    return begin


@pytest.fixture
def people() -> People:
    """Alice is where the bench wants to go, bob is elsewhere."""
    alice = RemotePeer("alice", update=update_of([1.0, 0.0, 0.0, 0.0]))
    return alice, RemotePeer("bob", update=update_of([0.0, 1.0, 0.0, 0.0]))


def shares(record: Round) -> dict[str, float]:
    return {"me": record.self_weight} | {one.name: one.weight for one in record.seen}


def answered(bench: Bench, effects: Effects, measures: dict[str, tuple[float, ...]], own: float) -> Effects:
    """Answer every `Weigh` with these distances, by author."""
    result: Effects = []
    for weigh in [one for one in effects if isinstance(one, Weigh)]:
        distances = measures[weigh.author]
        kinds = len(distances)
        result += bench.tell(
            Weighed(
                request=weigh.request,
                author=weigh.author,
                distances=distances,
                errors=(0.01,) * kinds,
                own=(own,) * kinds,
            )
        )
    return result


# -- what is measured -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trust",
    [
        TrustConfig(),
        TrustConfig(strategy="weights", form="paper-code"),
        TrustConfig(strategy="product", product_of=("validation", "weights", "predictions")),
        TrustConfig(strategy="learned"),
        TrustConfig(strategy="local"),
    ],
)
def test_the_learner_is_told_what_the_strategy_needs(trust: TrustConfig) -> None:
    bench = Bench(trust=trust)
    assert only(bench.tell(Started()), Open).config.evidence == evidence_of(trust)


def test_a_product_asks_once_and_records_every_distance(gather: Gather, people: People) -> None:
    bench = Bench(trust=TrustConfig(strategy="product", product_of=("weights", "validation")))
    alice, bob = people
    effects = gather(bench, alice, bob)
    assert [one.author for one in every(effects, Weigh)] == sorted((alice.id, bob.id))
    ended = bench.finish(answered(bench, effects, {alice.id: (0.25, -0.5), bob.id: (1.0, 0.5)}, 0.0))

    record = round_record(ended)
    by_name = {one.name: one for one in record.seen}
    assert (by_name["alice"].distance, by_name["alice"].error) == (0.25, 0.01)
    assert by_name["alice"].distances == (0.25, -0.5)
    assert by_name["alice"].weight > by_name["bob"].weight


@pytest.mark.parametrize(
    ("distances", "own"),
    [
        ((0.1,), 0.0),
        ((0.1, 0.1, 0.1), 0.0),
        ((-0.1, 0.1), 0.0),
        ((0.1, math.nan), 0.0),
        ((0.1, 0.1), math.inf),
    ],
)
def test_measures_that_make_no_row_are_declined(
    gather: Gather, distances: tuple[float, ...], own: float
) -> None:
    bench = Bench(trust=TrustConfig(strategy="product", product_of=("weights", "validation")))
    alice = RemotePeer("alice")
    effects = answered(bench, gather(bench, alice), {alice.id: distances}, own)
    assert only(effects, Merge).row == (1.0,)
    assert refusal_record(effects).field == "distance"
    assert bench.core.welcome(alice.id, bench.now)


def test_one_distance_is_recorded_once(gather: Gather, people: People) -> None:
    bench = Bench()
    record = round_record(bench.finish(gather(bench, people[0])))
    assert record.seen[0].distance > 0
    assert record.seen[0].distances == ()


@pytest.mark.parametrize(("form", "said"), [("ours", "weights"), ("paper-code", "weights paper-code")])
def test_the_record_of_a_start_says_the_form(form: Form, said: str) -> None:
    bench = Bench(trust=TrustConfig(strategy="weights", form=form))
    (begun,) = [one for one in records(bench.start()) if isinstance(one, Begun)]
    assert begun.strategy == said


# -- one row, taken as it is ------------------------------------------------------------------------


def test_a_published_row_is_merged_without_an_evaluation(gather: Gather, people: People) -> None:
    trust = TrustConfig(strategy="weights", form="paper-text")
    bench = Bench(trust=trust, rounds={"guard": False})
    alice, bob = people
    merging = answered(bench, gather(bench, alice, bob), {alice.id: (1.0,), bob.id: (1.0,)}, 0.0)

    merge = only(merging, Merge)
    assert merge.row == pytest.approx([x / (math.e + 2) for x in (math.e, 1, 1)])
    record = round_record(bench.answer(merging))
    assert (record.guard, record.tried, record.temperature) == ("taken", (), None)


def test_a_guard_measures_even_a_single_row(gather: Gather, people: People) -> None:
    bench = Bench(trust=TrustConfig(strategy="uniform"))
    evaluate = only(gather(bench, *people), Evaluate)
    assert evaluate.rows == ((1 / 3,) * 3, (1.0, 0.0, 0.0))


def test_fomo_takes_only_from_who_gained(gather: Gather, people: People) -> None:
    bench = Bench(trust=TrustConfig(strategy="fomo"), rounds={"guard": False})
    alice, bob = people
    merging = answered(bench, gather(bench, alice, bob), {alice.id: (-3.0,), bob.id: (0.5,)}, -1.0)

    merge = only(merging, Merge)
    assert (merge.row, merge.updates) == ((0.25, 0.75), (alice.update,))


def test_fixed_weights_find_their_peers_by_name_or_id(gather: Gather, people: People) -> None:
    alice, bob = people
    fixed = ("alice=0.25", f"{bob.id}=0.125", "carol=0.5")
    bench = Bench(trust=TrustConfig(strategy="fixed", fixed=fixed), rounds={"guard": False})
    record = round_record(bench.finish(gather(bench, alice, bob)))
    assert shares(record) == {"me": 0.625, "alice": 0.25, "bob": 0.125}


# -- the learned row --------------------------------------------------------------------------------


def learned(**rounds: Unpack[RoundOptions]) -> Bench:
    return Bench(trust=TrustConfig(strategy="learned", learned_rate=2.0), rounds=rounds)


def test_a_learned_row_is_fitted_measured_and_merged(gather: Gather, people: People) -> None:
    bench = learned()
    fitting = gather(bench, *people)
    fit = only(fitting, Fit)
    assert fit.row == pytest.approx((1 / 3,) * 3)
    assert (fit.steps, fit.rate) == (12, 2.0)
    assert set(fit.updates) == {one.update for one in people}
    assert not every(fitting, Weigh)

    evaluating = bench.answer(fitting)
    row = only(evaluating, Evaluate).rows[0]
    merging = bench.answer(evaluating)
    assert only(merging, Merge).row == row
    record = round_record(bench.answer(merging))
    assert record.guard == "taken"
    assert shares(record)["alice"] > 0.6 > 0.1 > shares(record)["bob"]
    assert record.trust_merged < record.trust_alone


def test_the_next_fit_begins_where_the_last_row_was(gather: Gather, people: People) -> None:
    bench = learned()
    alice, bob = people
    ended = bench.finish(gather(bench, alice, bob))
    last = shares(round_record(ended))
    alice.update, bob.update = update_of([1.0, 0.5, 0.1, 0.0]), update_of([0.5, 1.0, 0.1, 0.0])
    fit = only(gather(bench, alice, bob, effects=ended, round_=1), Fit)
    names = {alice.update: "alice", bob.update: "bob"}
    begun = dict(zip(["me", *(names[one] for one in fit.updates)], fit.row, strict=True))
    assert begun == pytest.approx({name: 0.9 * weight + 0.1 / 3 for name, weight in last.items()})


def test_without_a_guard_the_learned_row_is_merged_at_once(gather: Gather, people: People) -> None:
    bench = learned(guard=False)
    assert only(bench.answer(gather(bench, *people)), Merge)


def test_alone_there_is_nothing_to_learn(gather: Gather) -> None:
    bench = learned()
    assert only(gather(bench), Merge).row == (1.0,)


@pytest.mark.parametrize(
    "row",
    [
        (),
        (0.5, 0.5),
        (0.25,) * 4,
        (0.5, 0.5, 0.5),
        (1.5, -0.5, 0.0),
        (math.nan, 0.5, 0.5),
        (math.inf, 0.0, 0.0),
        (1e308, 1e308, 1e308),
    ],
)
def test_what_is_no_row_is_refused(gather: Gather, people: People, row: Sequence[float]) -> None:
    bench = learned()
    fit = only(gather(bench, *people), Fit)
    merging = bench.tell(Fitted(request=fit.request, row=tuple(row), losses=()))
    assert only(merging, Merge).row == (1.0,)
    assert round_record(bench.answer(merging)).guard == "refused"


def test_rounding_of_a_learned_row_is_mended(gather: Gather, people: People) -> None:
    bench = learned(guard=False)
    fit = only(gather(bench, *people), Fit)
    merging = bench.tell(Fitted(request=fit.request, row=(0.5001, 0.25, 0.25), losses=()))
    assert math.fsum(only(merging, Merge).row) == pytest.approx(1, abs=1e-15)


def test_late_and_repeated_fits_change_nothing(gather: Gather, people: People) -> None:
    bench = learned()
    fitting = gather(bench, *people)
    late = msgspec.structs.replace(bench.answer_to(fitting), request=-1)
    assert bench.tell(late) == []
    assert isinstance(bench.core.stage, Fitting)
    answer = bench.answer_to(fitting)
    bench.tell(answer)
    assert bench.tell(answer) == []


def test_a_fit_that_failed_is_tried_again(gather: Gather, people: People) -> None:
    bench = learned()
    fitting = gather(bench, *people)
    failure = Failed(request=only(fitting, Fit).request, why="out of memory", users_fault=False)
    wake = only(bench.tell(failure), WakeAt)
    again = bench.answer(bench.tell(Woke(timer=wake.timer), after=1.0))
    assert only(again, Fit)


# -- raw logits -------------------------------------------------------------------------------------


def test_a_network_of_raw_logits_reads_evidence_as_such() -> None:
    shape = RowsShape(rows=1, top=1, vocabulary=2, raw=True)
    logits = Content.of(
        encode_logits(LogitRows(np.zeros((1, 1), np.uint32), np.full((1, 1), -31.5, np.float32)), shape)
    )
    bench = Bench()
    opened = bench.answer_to(bench.tell(Started()))
    bench.tell(msgspec.structs.replace(opened, raw=True))
    infinite = Content.of(b"\0\0" + np.float32(np.inf).tobytes())
    alice, bob = RemotePeer("alice", evidence=logits), RemotePeer("bob", evidence=infinite)
    assert EVIDENCE.size == logits.size, "so that only the content can tell"
    bench.tell(Heard(frame=alice.announce(0), via=alice.id))
    bench.tell(Heard(frame=bob.announce(0), via=bob.id))
    assert bench.core.welcome(alice.id, bench.now)
    assert not bench.core.welcome(bob.id, bench.now)


# -- rows without merging ---------------------------------------------------------------------------


@pytest.mark.parametrize("guarded", [True, False])
def test_a_peer_that_does_not_merge_records_the_same_row_and_keeps_its_adapter(
    gather: Gather, people: People, guarded: bool
) -> None:
    found: dict[bool, Round] = {}
    for merges in (True, False):
        bench = Bench(trust=TrustConfig(strategy="weights"), rounds={"guard": guarded}, merges=merges)
        alice, bob = people
        effects = answered(bench, gather(bench, alice, bob), {alice.id: (0.25,), bob.id: (1.0,)}, 0.0)
        found[merges] = round_record(bench.finish(effects))
    assert shares(found[True]) == shares(found[False])
    assert shares(found[False])["alice"] > 0
    assert found[True].test_merged != found[True].test_alone
    assert found[False].test_merged == found[False].test_alone
    assert found[False].tried == found[True].tried


@pytest.mark.parametrize(("merges", "said"), [(True, "svd"), (False, "none")])
def test_the_record_of_a_start_says_whether_rows_are_applied(merges: bool, said: str) -> None:
    (begun,) = [one for one in records(Bench(merges=merges).start()) if isinstance(one, Begun)]
    assert begun.merge == said


# -- a radius that shrinks with the rounds ------------------------------------------------------------


@pytest.mark.parametrize(("decay", "own_share"), [(0.0, 0.5), (1.0, 1.0)])
def test_balance_shrinks_its_radius_with_the_rounds_of_this_peer(
    gather: Gather, people: People, decay: float, own_share: float
) -> None:
    trust = TrustConfig(strategy="balance", balance_reach=1000.0, balance_decay=decay)
    bench = Bench(trust=trust, rounds={"guard": False})
    ended = bench.finish(gather(bench, *people))
    assert shares(round_record(ended))["me"] == 0.5
    for round_ in range(1, 20):
        ended = bench.finish(gather(bench, *people, effects=ended, round_=round_))
    assert shares(round_record(ended))["me"] == own_share


# -- a gain that is partly luck -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("doubt", "guard", "part"), [(1.0, True, 0.5), (2.0, True, 0.2), (0.0, True, 1.0), (1.0, False, 1.0)]
)
def test_a_merge_is_taken_as_far_as_its_gain_is_certain(
    gather: Gather, people: People, doubt: float, guard: bool, part: float
) -> None:
    rows: list[tuple[float, ...]] = []
    for error in (0.0, 1.0):
        bench = Bench(defence=DefenceConfig(doubt=doubt), rounds={"guard": guard})
        alice, bob = people
        effects = answered(bench, gather(bench, alice, bob), {alice.id: (0.25,), bob.id: (1.0,)}, 0.0)
        if guard:
            effects = bench.answer(effects)
        answer = bench.answer_to(effects)
        assert isinstance(answer, Evaluated)
        errors = tuple(error * gain for gain in answer.gains)
        effects = bench.tell(msgspec.structs.replace(answer, errors=errors))
        rows.append(only(effects, Merge).row)
    whole, taken = rows
    assert sum(whole[1:]) > 0
    assert taken[1:] == pytest.approx([part * weight for weight in whole[1:]])
    assert math.fsum(taken) == pytest.approx(1, abs=1e-15)


def test_what_merges_gained_before_a_restart_makes_the_next_one_more_certain(
    gather: Gather, people: People
) -> None:
    alice, bob = people
    certainties: list[object] = []
    alone = only(bench_alone(), Store).saved
    for merits in (Merits(), Merits(gain=1.0, variance=0.0)):
        bench = Bench(saved=msgspec.structs.replace(alone, merits=merits), defence=DefenceConfig())
        effects = gather(bench, alice, bob, round_=1)
        effects = bench.answer(answered(bench, effects, {alice.id: (0.25,), bob.id: (1.0,)}, 0.0))
        answer = bench.answer_to(effects)
        assert isinstance(answer, Evaluated)
        errors = tuple(abs(gain) for gain in answer.gains)
        ended = bench.finish(bench.tell(msgspec.structs.replace(answer, errors=errors)))
        certainties.append(round_record(ended).certainty)
        assert only(ended, Store).saved.merits != merits
    doubtful, certain = certainties
    assert doubtful == pytest.approx(0.5)
    assert certain == pytest.approx(1.0, abs=0.02)


def bench_alone() -> Effects:
    """The end of a first round without neighbours."""
    bench = Bench()
    return bench.finish(bench.publish(bench.answer(bench.start())))
