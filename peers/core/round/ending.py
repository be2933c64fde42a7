"""The end of a round: what is logged, kept for inspection, and made of what neighbours sent for it."""

from __future__ import annotations

from collections.abc import Sequence

from gossipllm.work import Merged, PushedShare
from peers.core.config import CoreConfig
from peers.core.effects import Effect, Keep, Log
from peers.core.events import PeerId
from peers.core.others.blobs.shares import BAD_SHARE_FINE
from peers.core.others.neighbourhood import Neighbourhood
from peers.core.round.decision.spoilers import Spoilers
from peers.core.round.memory.returning import Returning
from peers.core.round.memory.searching import Searching
from peers.core.round.memory.settling import Settling
from peers.core.round.records import merge_inputs, round_record
from peers.core.round.stages import Merging
from peers.core.saved import Saved


class Ending:
    """Turns the neighbourhood to the next round."""

    def __init__(
        self,
        config: CoreConfig,
        me: PeerId,
        others: Neighbourhood,
        *,
        returning: Returning,
        settling: Settling,
        searching: Searching,
    ) -> None:
        self._me = me
        self._others = others
        self._returning = returning
        self._settling = settling
        self._searching = searching
        self._spoilers = Spoilers(me)
        # With push-sum a neighbour sends a share of mass, which is no adapter and cannot be measured again.
        self._keeps = config.keep_neighbours and config.learner.rows

    def effects(self, stage: Merging, event: Merged, saved: Saved, after: Saved, now: float) -> list[Effect]:
        """The round of `saved` ended with this merge, and the next begins with `after`."""
        record = round_record(
            self._me,
            saved=saved,
            stage=stage,
            merged=event,
            rate=self._settling.rate(saved),
            settled=after.plateau.settled,
            asking=after.asking,
        )
        back: list[Effect] = []
        if record.guard == "returned":
            back += self._returning.begun(saved.course, self._others.weights)
        back += self._spoilers.after(record, now)
        back += self._searching.told(saved.asking, after.asking, event.trust_loss)
        back += self._settling.told(saved.plateau, after.plateau)
        self._settling.took_part(stage.participants)
        weights = {one.peer: one.weight for one in record.seen if one.relation == "merges"}
        taught = {one.peer: one.teaches for one in record.seen if one.teaches is not None}
        self._others.turn(weights, record.round, taught)
        inputs = merge_inputs(self._me, saved=saved, stage=stage) if self._keeps else None
        return [Log(record=record), *back, *([Keep(inputs=inputs)] if inputs else [])]

    def absorbed(self, shares: Sequence[PushedShare], refused: Sequence[PeerId], now: float) -> list[Effect]:
        """Forget the shares that were absorbed, and fine the senders of those that the learner refused."""
        self._others.fetching.arrived.remove(shares)
        effects: list[Effect] = []
        for peer in refused:
            why = "less was pushed than before, or more than there can be"
            effects += self._others.fine(peer, "share", why, BAD_SHARE_FINE, now)
        return effects
