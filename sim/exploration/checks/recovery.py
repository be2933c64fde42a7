"""Checks of honest peers among each other: no fines, and after the quiet time all know all, and all go on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from peers.core.effects import Publish
from peers.core.events import PeerId
from peers.core.others.inbox import Inbox
from peers.core.others.standing.scores import Scores
from peers.core.round.stages import Resting, Settled
from sim.exploration.checks.violation import Watching
from sim.exploration.faults import Crash
from sim.exploration.inside import part
from sim.exploration.run import Explored
from sim.world.simulated_peer import SimulatedPeer
from sim.world.trace import Happened
from wire.codec import decode_announcement


class NoHonestPeerIsFined(Watching):
    """An honest peer has the best score in the eyes of every other honest peer, and none is brought to stop.

    But for a peer that lost its newest state where mass is pushed: its totals fall, as a liar's would
    (`peers.core.others.blobs.shares.BAD_SHARE_FINE`).
    """

    def __init__(self) -> None:
        self._scores: dict[int, tuple[int, Scores]] = {}
        """Peer -> a life, and the scores of its core in it."""

    def sample(self, explored: Explored) -> Iterator[tuple[SimulatedPeer, str]]:
        plan, nodes = explored.plan, explored.world.nodes
        pushes = not plan.peers[0].config.learner.rows
        damaged = {nodes[one.peer].id for one in plan.parts if isinstance(one, Crash) and one.damages}
        honest = explored.honest_ids - (damaged if pushes else set())
        for node in explored.honest:
            life, scores = self._scores.get(node.index, (-1, None))
            if scores is None or life != node.life:
                scores = part(node.core, Scores)
                assert scores is not None, "every core has scores"
                self._scores[node.index] = node.life, scores
            for peer, score, _, _ in scores.rows():
                if peer in honest:
                    yield node, f"fined the honest peer {peer}: its score is {score}"
            if node.stopped is not None:
                yield node, f"stopped: {node.stopped.why}"


class EveryPeerGoesOn(Watching):
    """In the second half of the quiet time, every honest peer ends a round, is settled for a while, or has done all its
    rounds. (News may wake a settled peer at the very end.)"""

    def __init__(self) -> None:
        self._rounds: dict[int, int] = {}
        self._rested = set[int]()
        """Peers seen at rest in the second half."""

    def sample(self, explored: Explored) -> Iterator[tuple[SimulatedPeer, str]]:
        if explored.world.now >= explored.quiet_since + explored.plan.pause_s:
            self._rounds = self._rounds or {node.index: len(node.rounds) for node in explored.world.nodes}
            self._rested |= {node.index for node in explored.honest if _rests(node)}
        return iter(())

    def end(self, explored: Explored) -> Iterator[tuple[SimulatedPeer, str]]:
        for node in explored.honest:
            if not node.alive:
                yield node, "does not run"
            elif (
                not _rests(node)
                and node.index not in self._rested
                and len(node.rounds) <= self._rounds[node.index]
            ):
                yield node, f"ended no round in the quiet time; it is {type(node.core.stage).__name__}"


def _rests(node: SimulatedPeer) -> bool:
    return isinstance(node.core.stage, (Resting, Settled))


class AllKnowTheLatest(Watching):
    """What an honest peer announced, every other honest peer knows that it can come to, once there was time for that.

    An announcement that was not passed on at once, because a link was silent then, comes by comparison alone: from its
    author to the author's neighbours at any time, and from any other peer only while it is young enough there
    (`TrustConfig.max_age`). Where announcements are not passed on at all, only the author's neighbours need to know it.
    Banning liars cuts a sparse network in parts, because simulated peers never dial anybody new.
    """

    def __init__(self) -> None:
        self._announced: dict[int, list[tuple[float, int]]] = {}

    def see(self, node: SimulatedPeer, happened: Happened) -> Iterator[str]:
        for effect in happened.effects:
            if isinstance(effect, Publish):
                round_ = decode_announcement(effect.frame).announcement.round
                self._announced.setdefault(node.index, []).append((happened.at, round_))
        return iter(())

    def end(self, explored: Explored) -> Iterator[tuple[SimulatedPeer, str]]:
        until, relay = explored.world.now - explored.plan.news_s, explored.plan.conditions.topology.relay
        links = {node.id: explored.honest_ids.intersection(node.links) for node in explored.honest}
        for author in explored.honest:
            told = [round_ for at, round_ in self._announced.get(author.index, ()) if at <= until]
            if not told:
                continue
            passing = _passing(author.id, explored.honest) if relay else set[PeerId]()
            reached = _reached(author.id, links, passing)
            for node in explored.honest:
                newest = _newest(node, author.id)
                if node is author or node.id not in reached or newest is None:
                    continue
                if newest < max(told):
                    name = author.config.name
                    yield node, f"knows round {newest} of {name}, which announced {max(told)} long ago"


def _newest(node: SimulatedPeer, author: PeerId) -> int | None:
    """The latest round of an author that a peer knows, -1 without any; None while it has no inbox."""
    inbox = part(node.core, Inbox)
    if inbox is None:
        return None
    return next((one.announcement.round for one in inbox.newest() if one.author == author), -1)


def _passing(author: PeerId, nodes: Collection[SimulatedPeer]) -> set[PeerId]:
    """The peers to which an author's latest announcement is young enough to be passed on."""
    young = set[PeerId]()
    for node in nodes:
        inbox = part(node.core, Inbox)
        if inbox is None:
            continue
        oldest = node.config.trust.max_age
        if any(one.author == author and inbox.age(one) <= oldest for one in inbox.newest()):
            young.add(node.id)
    return young


def _reached(
    start: PeerId, links: Mapping[PeerId, Collection[PeerId]], passing: Collection[PeerId]
) -> set[PeerId]:
    """All peers at the end of a path of links from `start` over peers that pass on, with `start` itself."""
    reached, new = {start}, {start}
    while new:
        new = {peer for one in new for peer in links[one]} - reached
        reached |= new
        new &= set(passing)
    return reached
