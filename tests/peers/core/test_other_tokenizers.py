"""One network, several tokenizers: byte rows, when they are made, fetched and served, and what they teach."""

from __future__ import annotations

from msgspec import UNSET

from gossipllm.work import Merge, Train, Weigh
from peers.core.config import DefenceConfig
from peers.core.effects import Publish, Pull, Store, Verdict
from peers.core.events import Heard
from sim.toy.units import BYTE_ROWS
from support.core_bench import Bench, RemotePeer
from support.effects import every, only, refusals, requests, round_record, verdict
from support.mixed_company import (
    CONFIRMING,
    DISTILS,
    OTHER,
    TONGUE,
    asked,
    hear,
    hear_tongue,
    ref_of,
)
from trust.rows.rows import TrustConfig
from wire.codec import decode_announcement
from wire.digest import Content


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
