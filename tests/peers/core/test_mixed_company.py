"""One network, several bases: who merges, who is compared, and what strangers of other bases cannot do."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import UNSET

from gossipllm.config import LearnerConfig
from gossipllm.work import Confirm, Confirmation, Confirmed, Merge, Request, Train, Weigh
from peers.core.config import DefenceConfig
from peers.core.effects import Drop, Effect, Publish, Pull, Store, Verdict
from peers.core.events import Connected, Heard, NotPulled
from peers.core.others.inbox import MAX_AUTHORS
from peers.core.saved import spoken
from sim.toy.learner import EVIDENCE, fingerprints
from sim.toy.units import BYTE_ROWS
from support.core_bench import Bench, RemotePeer, RoundOptions, update_of
from support.effects import every, only, refusals, requests, round_record, verdict
from support.messages import AnnouncementFields
from trust.rows.rows import TrustConfig
from wire.codec import decode_announcement
from wire.digest import Content
from wire.messages import BlobRef

OTHER = fingerprints("other")
TONGUE = fingerprints("tongue:other")
HUGE = BlobRef(digest=b"h" * 32, size=2**31 - 1)
DISTILS = LearnerConfig(also="distil")
CONFIRMING = DefenceConfig(newcomers=0.5, own_share=0.0, commit=False)
GOOD = Confirmation(gain=0.5, error=0.1, mismatch=0.0, twin=0, size=1.0)


@pytest.fixture
def kin() -> RemotePeer:
    return RemotePeer("kin")


@pytest.fixture
def stranger() -> RemotePeer:
    """A peer of another base. Its evidence has the network's size, its update any."""
    return RemotePeer("stranger", update=update_of([0.0, 9.0, 0.0, 0.0]))


def ref_of(content: Content) -> BlobRef:
    return BlobRef(digest=content.digest, size=content.size)


def hear(bench: Bench, other: RemotePeer, round_: int = 0, *, foreign: bool) -> list[Effect]:
    """Its announcement comes, and all that is asked for of it; the pulls that were begun are among the effects."""
    fields: AnnouncementFields = {"fingerprints": OTHER} if foreign else {}
    effects = bench.tell(Heard(frame=other.announce(round_, inline=False, **fields), via=other.id))
    waiting = every(effects, Pull)
    while waiting:
        more = bench.give(waiting.pop(0), other)
        waiting += every(more, Pull)
        effects += more
    return effects


def asked(bench: Bench, effects: list[Effect]) -> tuple[list[Request], list[Effect]]:
    """All requests to the learner up to the end of the round, and the effects of the end."""
    waiting, seen = requests(effects), list[Request]()
    while True:
        request = waiting.pop(0)
        seen.append(request)
        answer = bench.learner.answer(request)
        if isinstance(request, Confirm):
            results = [msgspec.structs.replace(GOOD, twin=index) for index in range(len(request.finalists))]
            answer = Confirmed(request=request.request, own_loss=1.0, results=tuple(results))
        effects = bench.tell(answer)
        if isinstance(request, Merge):
            return seen, effects
        waiting += requests(effects)


def test_of_another_base_the_predictions_are_fetched_and_never_the_update(
    kin: RemotePeer, stranger: RemotePeer
) -> None:
    bench = Bench(defence=CONFIRMING)
    bench.start()
    bench.meet(kin, stranger)

    of_kin = {pull.digest for pull in every(hear(bench, kin, foreign=False), Pull)}
    of_stranger = {pull.digest for pull in every(hear(bench, stranger, foreign=True), Pull)}

    assert kin.update.digest in of_kin
    assert of_stranger <= {EVIDENCE.digest}
    assert bench.core.blob(stranger.update.digest, kin.id) is None


def test_another_base_is_measured_by_its_predictions_and_has_no_weight(
    kin: RemotePeer, stranger: RemotePeer
) -> None:
    bench = Bench(defence=CONFIRMING)
    effects = bench.start()
    hear(bench, kin, foreign=False)
    hear(bench, stranger, foreign=True)

    seen, ended = asked(bench, bench.publish(bench.answer(effects)))

    weighed = {one.author: one.update for one in seen if isinstance(one, Weigh)}
    assert weighed == {kin.id: kin.update, stranger.id: None}
    assert all(one.author != stranger.id for ask in seen if isinstance(ask, Confirm) for one in ask.finalists)
    (merge,) = [one for one in seen if isinstance(one, Merge)]
    assert merge.updates == (kin.update,)
    assert merge.lessons == ()
    record = {one.peer: one for one in round_record(ended).seen}
    assert (record[stranger.id].relation, record[stranger.id].weight) == ("compares", 0.0)
    assert (record[kin.id].relation, record[kin.id].teaches) == ("merges", None)
    assert record[kin.id].weight > 0


def test_who_distils_learns_from_both_in_a_row_of_its_own(kin: RemotePeer, stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING, learner=DISTILS)
    effects = bench.start()
    hear(bench, kin, foreign=False)
    hear(bench, stranger, foreign=True)

    seen, ended = asked(bench, bench.publish(bench.answer(effects)))

    (merge,) = [one for one in seen if isinstance(one, Merge)]
    assert merge.updates == (kin.update,)
    assert {one.update for one in merge.lessons} == {kin.update, None}
    record = {one.peer: one for one in round_record(ended).seen}
    assert record[stranger.id].relation == "distils"
    weights = {one.update: one.weight for one in merge.lessons}
    assert record[stranger.id].teaches == weights[None]
    assert record[kin.id].teaches == weights[kin.update]
    assert sum(weights.values()) < 1
    assert weights[None] <= CONFIRMING.newcomers


def test_many_strangers_together_teach_no_more_than_newcomers_may(stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING, learner=DISTILS)
    effects = bench.start()
    for number in range(12):
        hear(bench, RemotePeer(f"stranger{number}"), foreign=True)

    seen, _ = asked(bench, bench.publish(bench.answer(effects)))

    (merge,) = [one for one in seen if isinstance(one, Merge)]
    assert (merge.row, merge.updates) == ((1.0,), ())
    assert 0 < sum(one.weight for one in merge.lessons) <= CONFIRMING.newcomers + 1e-9


# -- another tokenizer --------------------------------------------------------------------------------


def hear_tongue(bench: Bench, other: RemotePeer, round_: int = 0) -> list[Effect]:
    """A peer with another tokenizer announces, with byte rows, and all that is asked for of it comes."""
    effects = bench.tell(
        Heard(
            frame=other.announce(
                round_, inline=False, fingerprints=TONGUE, byte_rows=ref_of(other.byte_rows)
            ),
            via=other.id,
        )
    )
    waiting = every(effects, Pull)
    while waiting:
        more = bench.give(waiting.pop(0), other)
        waiting += every(more, Pull)
        effects += more
    return effects


def test_of_another_tokenizer_byte_rows_are_fetched_and_measured_and_nothing_else(
    kin: RemotePeer, stranger: RemotePeer
) -> None:
    bench = Bench(defence=CONFIRMING)
    effects = bench.start()
    hear(bench, kin, foreign=False)

    pulls = every(hear_tongue(bench, stranger), Pull)
    seen, ended = asked(bench, bench.publish(bench.answer(effects)))

    assert [pull.digest for pull in pulls] == [stranger.byte_rows.digest]
    weighed = {one.author: one for one in seen if isinstance(one, Weigh)}
    assert (weighed[stranger.id].update, weighed[stranger.id].evidence) == (None, None)
    assert weighed[stranger.id].byte_rows == stranger.byte_rows
    assert weighed[kin.id].byte_rows is None
    record = {one.peer: one for one in round_record(ended).seen}
    assert (record[stranger.id].relation, record[stranger.id].weight) == ("compares", 0.0)
    assert record[kin.id].weight > 0


def test_byte_rows_of_another_tokenizer_teach_a_peer_that_distils(
    kin: RemotePeer, stranger: RemotePeer
) -> None:
    bench = Bench(defence=CONFIRMING, learner=DISTILS)
    effects = bench.start()
    hear(bench, kin, foreign=False)
    hear_tongue(bench, stranger)

    seen, ended = asked(bench, bench.publish(bench.answer(effects)))

    (merge,) = [one for one in seen if isinstance(one, Merge)]
    (lesson,) = [one for one in merge.lessons if one.in_bytes]
    assert (lesson.update, lesson.evidence) == (None, stranger.byte_rows)
    assert 0 < lesson.weight <= CONFIRMING.newcomers
    assert [one.update for one in merge.lessons if not one.in_bytes] == [kin.update]
    record = {one.peer: one for one in round_record(ended).seen}
    assert (record[stranger.id].relation, record[stranger.id].teaches) == ("distils", lesson.weight)


def test_byte_rows_of_our_own_tokenizer_are_never_fetched(kin: RemotePeer, stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING)
    bench.start()

    frames = [
        (kin, kin.announce(inline=False, byte_rows=ref_of(BYTE_ROWS))),
        (stranger, stranger.announce(inline=False, byte_rows=ref_of(BYTE_ROWS), fingerprints=OTHER)),
    ]
    pulls = [
        pull
        for author, frame in frames
        for pull in every(bench.tell(Heard(frame=frame, via=author.id)), Pull)
    ]

    fetched = {pull.digest for pull in pulls}
    assert kin.update.digest in fetched
    assert BYTE_ROWS.digest not in fetched


def test_a_peer_of_another_tokenizer_without_byte_rows_costs_nothing_and_is_no_fault(
    stranger: RemotePeer,
) -> None:
    bench = Bench(defence=CONFIRMING)
    effects = bench.start()
    heard = bench.tell(Heard(frame=stranger.announce(0, inline=False, fingerprints=TONGUE), via=stranger.id))
    hear_tongue(bench, stranger, 1)
    bench.tell(Heard(frame=stranger.announce(2, inline=False, fingerprints=TONGUE), via=stranger.id))

    seen, ended = asked(bench, bench.publish(bench.answer(effects)))

    assert verdict(heard) is Verdict.ACCEPT
    assert not every(heard, Pull)
    assert not refusals(ended)
    assert all(one.byte_rows == BYTE_ROWS for one in seen if isinstance(one, Weigh))


def test_who_is_apart_is_recorded_without_a_measurement(kin: RemotePeer, stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING, trust=TrustConfig(strategy="weights"))
    effects = bench.start()
    hear(bench, kin, foreign=False)
    pulls = every(hear_tongue(bench, stranger), Pull)

    seen, ended = asked(bench, bench.publish(bench.answer(effects)))

    record = {one.peer: one for one in round_record(ended).seen}
    assert (record[stranger.id].relation, record[stranger.id].weight) == ("apart", 0.0)
    assert not pulls
    assert {one.author for one in seen if isinstance(one, Weigh)} == {kin.id}


def test_predictions_of_other_tokens_inside_of_an_announcement_are_not_read(stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING)
    bench.start()
    stranger.evidence = Content.of(b"tokens of another vocabulary")

    effects = bench.tell(Heard(frame=stranger.announce(0, fingerprints=TONGUE), via=stranger.id))

    assert verdict(effects) is Verdict.ACCEPT
    assert not refusals(effects)


def test_byte_rows_are_made_while_an_author_of_another_tokenizer_is_heard(stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING, trust=TrustConfig(max_age=1))
    asks = list[bool]()
    effects = bench.start()
    for round_ in range(5):
        (train,) = [one for one in requests(effects) if isinstance(one, Train)]
        asks.append(train.byte_rows)
        saving = bench.answer(effects)
        frame = only(saving, Store).saved.frame
        announced = decode_announcement(frame).announcement.byte_rows
        assert announced == (ref_of(BYTE_ROWS) if train.byte_rows else UNSET)
        if round_ == 1:
            hear_tongue(bench, stranger)
        effects = bench.finish(bench.publish(saving))

    assert asks == [False, False, True, False, False]


def test_byte_rows_are_served_as_the_other_predictions_and_after_a_restart(stranger: RemotePeer) -> None:
    bench = Bench(defence=DefenceConfig())
    effects = bench.start()
    hear_tongue(bench, stranger)
    saving = bench.train(bench.finish(bench.publish(bench.answer(effects))))
    saved = only(saving, Store).saved

    before = bench.core.blob(BYTE_ROWS.digest, stranger.id)
    published = bench.publish(saving)
    nobody = bench.core.blob(BYTE_ROWS.digest, "toy-nobody")
    hear_tongue(bench, stranger, 1)

    again = Bench(saved=saved, defence=DefenceConfig())
    repeated = again.publish(again.start())
    hear_tongue(again, stranger, 1)

    assert saved.byte_rows == BYTE_ROWS
    assert before is nobody is None
    assert bench.core.blob(BYTE_ROWS.digest, stranger.id) == BYTE_ROWS.data
    assert only(repeated, Publish).frame == only(published, Publish).frame == saved.frame
    assert again.core.blob(BYTE_ROWS.digest, stranger.id) == BYTE_ROWS.data


def test_byte_rows_that_are_none_are_fined_in_one_line_and_nothing_is_lost(
    kin: RemotePeer, stranger: RemotePeer
) -> None:
    bench = Bench(defence=CONFIRMING)
    effects = bench.start()
    hear(bench, kin, foreign=False)
    stranger.byte_rows = Content.of(bytes(BYTE_ROWS.size))

    heard = hear_tongue(bench, stranger)
    seen, _ = asked(bench, bench.publish(bench.answer(effects)))

    (line,) = refusals(heard)
    assert line == (stranger.id, "bytes.length")
    assert not bench.core.welcome(stranger.id, bench.now)
    assert {one.author for one in seen if isinstance(one, Weigh)} == {kin.id}


def test_a_round_waits_for_nobody_of_another_base(stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING)
    effects = bench.start()
    bench.tell(Connected(peer=stranger.id))
    bench.tell(stranger.greet(base="other"))
    hear(bench, stranger, foreign=True)

    first = bench.publish(bench.answer(effects))
    seen, ended = asked(bench, first)
    second = bench.publish(bench.answer(ended))

    assert any(isinstance(one, Merge) for one in seen)
    assert requests(second), "the stranger announced nothing for this round, and is not waited for"


def test_a_round_waits_for_predictions_of_another_base_that_are_on_their_way(stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING)
    effects = bench.start()
    bench.tell(Connected(peer=stranger.id))
    bench.tell(stranger.greet(base="other"))
    (pull,) = every(
        bench.tell(Heard(frame=stranger.announce(0, inline=False, fingerprints=OTHER), via=stranger.id)), Pull
    )

    published = bench.publish(bench.answer(effects))
    arrived = bench.give(pull, stranger)

    assert not requests(published), "its announcement is here"
    assert any(isinstance(one, Weigh) for one in requests(arrived))


@pytest.mark.parametrize("later", [False, True])
def test_a_round_does_not_wait_for_predictions_that_did_not_come(stranger: RemotePeer, later: bool) -> None:
    bench = Bench(defence=CONFIRMING)
    effects = bench.start()
    bench.tell(Connected(peer=stranger.id))
    bench.tell(stranger.greet(base="other"))
    heard = bench.tell(Heard(frame=stranger.announce(0, inline=False, fingerprints=OTHER), via=stranger.id))
    published = bench.publish(bench.answer(effects))

    waiting, ended = every(heard, Pull), list[Effect]()
    while waiting:
        ended += bench.tell(NotPulled(request=waiting.pop(0).request, why="-", later=later))
        waiting += every(ended[-1:], Pull)

    assert not requests(published)
    assert any(isinstance(one, Merge) for one in requests(ended))


def test_our_base_with_an_update_of_another_size_is_refused_before_the_fetch(stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING)
    bench.start()

    effects = bench.tell(Heard(frame=stranger.announce(update=HUGE), via=stranger.id))

    assert verdict(effects) is Verdict.REJECT
    assert not every(effects, Pull)


def test_another_base_with_an_update_of_any_size_is_passed_on_and_costs_nothing(stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING)
    bench.start()

    frame = stranger.announce(update=HUGE, fingerprints=OTHER, inline=False)
    effects = bench.tell(Heard(frame=frame, via=stranger.id))

    assert verdict(effects) is Verdict.ACCEPT
    assert [pull.digest for pull in every(effects, Pull)] == [EVIDENCE.digest]


def test_a_peer_that_changes_its_base_is_taken_at_its_word_and_not_banned(stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING)
    bench.start()
    bench.meet(stranger)
    hear(bench, stranger, 0, foreign=False)

    changed = hear(bench, stranger, 1, foreign=True)
    back = hear(bench, stranger, 2, foreign=False)

    assert verdict(changed) is verdict(back) is Verdict.ACCEPT
    assert bench.core.welcome(stranger.id, bench.now)
    assert stranger.update.digest not in {pull.digest for pull in every(changed, Pull)}


def test_two_bases_in_one_round_are_equivocation(stranger: RemotePeer) -> None:
    bench = Bench(defence=CONFIRMING)
    bench.start()
    bench.meet(stranger)
    hear(bench, stranger, 0, foreign=False)

    effects = bench.tell(Heard(frame=stranger.announce(0, inline=False, fingerprints=OTHER), via=stranger.id))

    assert every(effects, Drop)
    assert not bench.core.welcome(stranger.id, bench.now)


def test_a_peer_of_another_base_is_not_fined_for_a_lie_that_it_passed_on(
    kin: RemotePeer, stranger: RemotePeer
) -> None:
    bench = Bench(defence=CONFIRMING)
    bench.start()
    bench.tell(Connected(peer=stranger.id))
    bench.tell(stranger.greet(base="other"))
    bench.meet(kin)

    def lie(number: int, via: RemotePeer) -> list[Effect]:
        return bench.tell(Heard(frame=RemotePeer(f"liar{number}").announce(update=HUGE), via=via.id))

    passed_on = [lie(number, stranger) for number in range(200)]
    by_kin = [lie(1000, kin), lie(1001, kin)]

    assert {verdict(one) for one in passed_on} == {Verdict.IGNORE}
    assert not any(every(one, Drop) for one in passed_on), "liars must not part honest peers of two bases"
    assert {verdict(one) for one in by_kin} == {Verdict.REJECT}
    assert every(by_kin[-1], Drop)


@pytest.mark.parametrize("foreign_flood", [True, False])
def test_a_thousand_strangers_push_out_each_other_and_not_the_other_kind(
    kin: RemotePeer, foreign_flood: bool
) -> None:
    rounds: RoundOptions = {"most_partners": 2, "explore": 1}
    bench = Bench(defence=CONFIRMING, rounds=rounds)
    effects = bench.start()
    hear(bench, kin, foreign=not foreign_flood)
    for number in range(MAX_AUTHORS + 50):
        bench.tell(Connected(peer=f"door{number}", group=f"v4:198.51.{number // 250}.{number % 250}"))
        one = RemotePeer(f"stranger{number}")
        fields: AnnouncementFields = {"fingerprints": OTHER} if foreign_flood else {}
        bench.now += 1.0
        bench.tell(Heard(frame=one.announce(inline=False, **fields), via=f"door{number}"))

    published = bench.publish(bench.answer(effects))

    weighed = {one.author for one in requests(published) if isinstance(one, Weigh)}
    assert kin.id in weighed


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
