"""What every `Network` does, the fake and the real one."""

from __future__ import annotations

import pytest
import trio

from peers.net.host import Link, PullFailed, Unreachable, Verdict
from peers.net.streams import blob_puller
from support.live_networks import Together
from support.networks import wait_until
from wire.digest import digest_of


async def test_an_announcement_reaches_everybody_once_and_never_its_author(together: Together) -> None:
    with trio.fail_after(20):
        async with together(4) as (author, *others):
            await author.network.publish(b"round 1")
            await wait_until(lambda: all(o.peer.frames() == [b"round 1"] for o in others))
            await author.network.publish(b"round 2")
            await wait_until(lambda: all(o.peer.frames() == [b"round 1", b"round 2"] for o in others))
            assert author.peer.heard == []
            assert author.network.traffic().sent["announce"] >= 3 * len(b"round 1round 2")


async def test_an_ignored_frame_is_judged_again_when_it_comes_again(together: Together) -> None:
    """Until it is accepted, gossip may bring it more often than it was published."""
    accepted: list[bytes] = []

    def accept(frame: bytes) -> Verdict:
        accepted.append(frame)
        return Verdict.ACCEPT

    with trio.fail_after(20):
        async with together(2) as (author, other):
            other.peer.verdict = lambda frame: Verdict.IGNORE
            await author.network.publish(b"too early")
            await wait_until(lambda: b"too early" in other.peer.frames())
            other.peer.verdict = accept
            await author.network.publish(b"too early")
            await wait_until(lambda: bool(accepted))
            await author.network.publish(b"too early")
            await author.network.publish(b"end")
            await wait_until(lambda: b"end" in accepted)
            assert accepted == [b"too early", b"end"]
            assert other.peer.faults == []


async def test_a_rejected_frame_is_neither_judged_again_nor_passed_on(together: Together) -> None:
    with trio.fail_after(20):
        async with together(2) as (author, other):
            other.peer.verdict = lambda frame: Verdict.REJECT if frame == b"bad" else Verdict.ACCEPT
            for frame in (b"bad", b"bad", b"good"):
                await author.network.publish(frame)
            await wait_until(lambda: b"good" in other.peer.frames())
            assert other.peer.frames() == [b"bad", b"good"]


async def test_a_greeting_is_answered_or_refused(together: Together) -> None:
    with trio.fail_after(20):
        async with together(2) as (asker, answerer):
            assert await asker.network.greet(answerer.id, b"hello") == b"re: hello"
            answerer.peer.reply = lambda greeting: None
            with pytest.raises(Unreachable):
                await asker.network.greet(answerer.id, b"hello")
            with pytest.raises(Unreachable):
                await asker.network.greet("12D3KooWGatU9DChcpgmYwcBDrkdQcgHUJU8mTLtUKdQ8kcCGPg3", b"hello")
            assert asker.network.traffic().sent["known"] >= len(b"hello")


async def test_a_blob_comes_whole_from_whoever_has_it(together: Together) -> None:
    data = bytes(range(256)) * 4_000
    with trio.fail_after(20):
        async with together(3) as (asker, empty, holder):
            digest = holder.peer.keep(data)
            assert await asker.network.pull(digest, len(data), (empty.id, holder.id)) == data
            assert asker.network.traffic().received["blob"] >= len(data)
            assert holder.network.traffic().sent["blob"] >= len(data)
            assert asker.peer.faults == []


async def test_nobody_has_the_blob(together: Together) -> None:
    with trio.fail_after(20):
        async with together(2) as (asker, empty):
            with pytest.raises(PullFailed, match="not here"):
                await asker.network.pull(digest_of(b"x"), 1, (empty.id,))
            with pytest.raises(PullFailed):
                await asker.network.pull(digest_of(b"x"), 1, ())


@pytest.mark.parametrize(("served", "field"), [(b"y" * 1000, "blob.sha"), (b"x" * 999, "blob.size")])
async def test_who_serves_wrong_bytes_is_fined_and_the_next_is_asked(
    together: Together, served: bytes, field: str
) -> None:
    data = b"x" * 1000
    with trio.fail_after(20):
        async with together(3) as (asker, liar, holder):
            digest = holder.peer.keep(data)
            liar.peer.blobs[digest] = served
            assert await asker.network.pull(digest, len(data), (liar.id, holder.id)) == data
            assert [(who, what, fine) for who, what, _, fine in asker.peer.faults] == [
                (liar.id, field, -50.0)
            ]


async def test_connections_are_announced_once_and_their_end_too(together: Together) -> None:
    with trio.fail_after(20):
        async with together(2) as (one, other):
            assert one.network.neighbours() == (other.id,)
            assert one.peer.ups_and_downs == [("up", other.id)]
            other.peer.banned.add(one.id)  # so that it stays away
            await one.network.disconnect(other.id)
            await wait_until(lambda: other.peer.ups_and_downs == [("up", one.id), ("down", one.id)])
            await wait_until(lambda: one.network.neighbours() == () and other.network.neighbours() == ())
            with pytest.raises(Unreachable):
                await one.network.greet(other.id, b"hello")


async def test_addresses_name_the_peer(together: Together) -> None:
    with trio.fail_after(20):
        async with together(1) as (alone,):
            assert all(address.endswith(f"/p2p/{alone.id}") for address in alone.network.addresses)
            assert alone.network.addresses
            assert alone.network.neighbours() == ()
            await alone.network.publish(b"into the void")


async def test_a_neighbour_is_reported_with_its_address_group_and_who_dialled(together: Together) -> None:
    with trio.fail_after(20):
        async with together(2) as (first, second):
            for here, there in ((first, second), (second, first)):
                link = here.network.link(there.id)
                assert link == here.peer.links[there.id]
                assert link.group == "v4:127.0.0.1"
            assert first.network.link(second.id).outbound != second.network.link(first.id).outbound
            assert first.network.link(first.id) == Link()


async def test_a_blob_that_is_put_off_is_had_later(
    together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_puller, "BUSY_WAIT_S", 0.01)
    with trio.fail_after(10):
        async with together(2) as (holder, asker):
            digest = holder.peer.keep(b"predictions")
            holder.peer.withheld.add((digest, asker.id))
            with pytest.raises(PullFailed) as failed:
                await asker.network.pull(digest, 11, (holder.id,))
            assert failed.value.later
            holder.peer.withheld.clear()
            assert await asker.network.pull(digest, 11, (holder.id,)) == b"predictions"
            assert not asker.peer.faults
