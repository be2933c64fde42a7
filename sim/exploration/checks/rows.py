"""Checks of rows and of what is merged by them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from gossipllm.work import (
    Confirm,
    Confirmed,
    Evaluate,
    Evaluated,
    Finalist,
    Merge,
    Weigh,
    Weighed,
)
from peers.core.config import CoreConfig
from peers.core.effects import Log, Publish
from peers.core.events import Heard, PeerId, Pulled, Replied
from peers.core.others.standing.scores import Scores
from sim.exploration.checks.violation import Watching
from sim.exploration.inside import part
from sim.toy.units import BYTE_SHAPE, SCHEMAS, Form
from sim.world.simulated_peer import SimulatedPeer
from sim.world.trace import Happened
from trust.record.history import Round
from trust.rows.config import evidence_of
from trust.rows.standing import has_seat
from wire.codec import decode_announcement, decode_reply
from wire.digest import Content
from wire.errors import WireError
from wire.predictions.byte_rows import decode_byte_rows
from wire.updates.units import check_offered

TOLERANCE = 1e-9
"""How far a sum of weights may be from 1: many times the rounding of a sum of some dozen numbers."""


class RowsAreDistributions(Watching):
    """Weights are finite, not negative and sum to 1; each neighbour stands in a row once; newcomers, the peer itself
    and those that were left out have what they may; and the guard lets no merge raise the trust loss."""

    def see(self, node: SimulatedPeer, happened: Happened) -> Iterator[str]:
        for effect in happened.effects:
            if isinstance(effect, Log) and isinstance(effect.record, Round):
                yield from self._recorded(node, effect.record)
            if isinstance(effect, Merge):
                yield from _faults_of(effect.row, len(effect.updates))
            if isinstance(effect, Evaluate):
                for row in effect.rows:
                    yield from _faults_of(row, len(effect.updates))

    def _recorded(self, node: SimulatedPeer, record: Round) -> Iterator[str]:
        row = (record.self_weight, *(one.weight for one in record.seen))
        yield from _faults_of(row, len(record.seen))
        authors = [one.peer for one in record.seen]
        if len(set(authors)) < len(authors) or node.id in authors:
            yield f"round {record.round} has a neighbour twice, or itself: {authors}"
        if not (node.config.round.guard and node.config.merges and node.config.learner.rows):
            return
        yield from _out_of_bounds(node.config, record)
        before, after = record.trust_alone, record.trust_merged
        if after > before * (1 + 1e-6) + 1e-6:
            yield f"the merge of round {record.round} raises the trust loss from {before} to {after}"


def _out_of_bounds(config: CoreConfig, record: Round) -> Iterator[str]:
    """Which bounds of a row a record breaks: what newcomers have together, what the peer keeps, who was left out."""
    defence = config.defence
    new = math.fsum(one.weight for one in record.seen if not has_seat(one.standing))
    if config.confirms and new > defence.newcomers + TOLERANCE:
        yield f"newcomers have {new} in round {record.round}, of at most {defence.newcomers}"
    if config.round.guard and record.self_weight < defence.own_share - TOLERANCE:
        yield f"the peer keeps {record.self_weight} in round {record.round}, and must {defence.own_share}"
    for one in record.seen:
        if one.left is not None and one.weight > 0:
            yield f"{one.name} was left out of round {record.round} as {one.left} and has the weight {one.weight}"


def _faults_of(row: Sequence[float], neighbours: int) -> Iterator[str]:
    if len(row) != neighbours + 1:
        yield f"a row of {len(row)} weights for {neighbours} neighbours"
    if not all(math.isfinite(weight) and weight >= 0 for weight in row):
        yield f"a row with weights that are not finite or below 0: {row}"
    elif abs(math.fsum(row) - 1) > TOLERANCE:
        yield f"a row that sums to {math.fsum(row)}: {row}"


def _refused_rows(asked: Weigh) -> Iterator[str]:
    if asked.byte_rows is None:
        return
    try:
        decode_byte_rows(asked.byte_rows.data, BYTE_SHAPE)
    except WireError as error:
        yield f"weighs byte rows that are refused by the wire: {error}"


Weights: TypeAlias = tuple[tuple[bytes, float], ...]
"""The updates of a row by their digests, with their weights, but for those of weight 0."""


def _weights(row: Sequence[float], updates: Sequence[Content]) -> Weights:
    return tuple((one.digest, weight) for one, weight in zip(updates, row[1:], strict=True) if weight > 0)


@dataclass(slots=True)
class _Life:
    """What a peer learned and asked in one life; the questions are those of its present round."""

    authors: dict[bytes, set[PeerId]] = field(default_factory=dict[bytes, "set[PeerId]"])
    """Digest of an update -> the authors of signed announcements that name it."""
    pulled: set[bytes] = field(default_factory=set[bytes])
    weighing: dict[int, Weigh] = field(default_factory=dict[int, Weigh])
    weighed: set[bytes] = field(default_factory=set[bytes])
    evaluating: dict[int, Evaluate] = field(default_factory=dict[int, Evaluate])
    losses: dict[Weights, float] = field(default_factory=dict["Weights", float])
    own_loss: float = math.nan
    scores: Scores | None = None
    confirming: dict[int, tuple[Finalist, ...]] = field(default_factory=dict[int, tuple[Finalist, ...]])
    confirmed: set[bytes] = field(default_factory=set[bytes])

    def begin_round(self) -> None:
        for questions in (
            self.weighing,
            self.weighed,
            self.evaluating,
            self.losses,
            self.confirming,
            self.confirmed,
        ):
            questions.clear()
        self.own_loss = math.nan


class GatesBeforeWeight(Watching):
    """An update with a weight was announced with a signature, fetched, found whole and finite, weighed, tried by itself
    where neighbours are, and, with the guard, measured in this very row; no author of it is banned. Byte rows that are
    weighed were found whole."""

    def __init__(self, form: Form) -> None:
        self._schema = SCHEMAS[form]
        self._lives: dict[tuple[int, int], _Life] = {}

    def see(self, node: SimulatedPeer, happened: Happened) -> Iterator[str]:
        life = self._lives.setdefault((happened.peer, happened.life), _Life())
        self._hear(node, life, happened)
        for effect in happened.effects:
            match effect:
                case Publish():
                    life.begin_round()
                case Weigh():
                    life.weighing[effect.request] = effect
                    yield from _refused_rows(effect)
                case Evaluate():
                    life.evaluating[effect.request] = effect
                case Confirm():
                    life.confirming[effect.request] = effect.finalists
                case Merge():
                    for text in self._skipped(node, life, effect, happened.at + node.clock_ahead_s):
                        yield f"merges an update that {text}"
                case _:
                    pass

    def _hear(self, node: SimulatedPeer, life: _Life, happened: Happened) -> None:
        match happened.event:
            case Heard(frame=frame):
                self._announced(node, life, frame)
            case Replied(reply=reply):
                try:
                    frames = decode_reply(reply).frames
                except WireError:
                    return
                for frame in frames:
                    self._announced(node, life, frame)
            case Pulled(content=content):
                life.pulled.add(content.digest)
            case Weighed(request=request, distances=distances) if request in life.weighing:
                asked = life.weighing.pop(request)
                if asked.update and all(math.isfinite(distance) for distance in distances):
                    life.weighed.add(asked.update.digest)
            case Evaluated(request=request, losses=losses) if request in life.evaluating:
                self._measured(life, life.evaluating.pop(request), losses)
            case Confirmed(request=request) as answer if request in life.confirming:
                life.own_loss = answer.own_loss
                finalists = life.confirming.pop(request)
                for index, (one, result) in enumerate(zip(finalists, answer.results, strict=True)):
                    if result.gain > 0 and result.twin == index:
                        life.confirmed.add(one.update.digest)
            case _:
                pass

    def _announced(self, node: SimulatedPeer, life: _Life, data: bytes) -> None:
        try:
            frame = decode_announcement(data)
        except WireError:
            return
        author = frame.announcement.author
        if node.keys.verify(author, frame.signed, frame.signature):
            authors = life.authors.setdefault(frame.announcement.update.digest, set())
            authors.add(node.keys.peer_id_of(author))

    @staticmethod
    def _measured(life: _Life, asked: Evaluate, losses: Sequence[float]) -> None:
        for row, loss in zip(asked.rows, losses, strict=True):
            weights = _weights(row, asked.updates)
            life.losses[weights] = loss
            if not weights:
                life.own_loss = loss

    def _skipped(self, node: SimulatedPeer, life: _Life, merge: Merge, now: float) -> Iterator[str]:
        weighted = [one for weight, one in zip(merge.row[1:], merge.updates, strict=True) if weight > 0]
        for update in weighted:
            yield from self._skipped_gates(node, life, update, now)
        if weighted and node.config.round.guard:
            loss = life.losses.get(_weights(merge.row, merge.updates))
            if loss is None:
                yield "was not measured in this row"
            elif not (loss <= life.own_loss or (math.isfinite(loss) and math.isnan(life.own_loss))):
                yield f"gives a loss of {loss}, and keeping everything {life.own_loss}"

    def _skipped_gates(self, node: SimulatedPeer, life: _Life, update: Content, now: float) -> Iterator[str]:
        authors = life.authors.get(update.digest, set())
        if not authors:
            yield "no signed announcement named"
        elif all(self._scores(node, life).banned(author, now) for author in authors):
            yield f"is of a banned author, {sorted(authors)}"
        if update.digest not in life.pulled:
            yield "was not fetched"
        try:
            check_offered(update.data, self._schema)
        except WireError as error:
            yield f"is refused by the wire: {error}"
        if evidence_of(node.config.trust) and update.digest not in life.weighed:
            yield "was not weighed in this round"
        if node.config.confirms and update.digest not in life.confirmed:
            yield "did not lower the loss by itself"

    @staticmethod
    def _scores(node: SimulatedPeer, life: _Life) -> Scores:
        if life.scores is None:
            life.scores = part(node.core, Scores)
        assert life.scores is not None, "every core has scores"
        return life.scores
