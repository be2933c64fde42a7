"""Searching: whether a round asks its neighbours for help, and what people are told where nobody helps.

`peers.core.asking` has the rules. A pause is saved with the round that it follows from; that a newcomer was heard is
forgotten in a restart, after which it is no newcomer any more.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from peers.core.asking import Asking
from peers.core.config import CoreConfig
from peers.core.effects import Log
from peers.core.events import PeerId
from peers.core.others.neighbourhood import Neighbourhood
from peers.core.round.learner_supervision import note
from peers.core.round.stages import Merging
from peers.core.saved import Saved
from trust.record.history import Distilled


class Searching:
    def __init__(self, config: CoreConfig, me: PeerId, neighbourhood: Neighbourhood) -> None:
        self._me = me
        self._others = neighbourhood
        self._patience = config.defence.fruitless
        self._pauses = self._patience > 0 and config.confirms and config.learner.rows and config.merges

    def begin(self, saved: Saved) -> Saved:
        """The state with which a round begins: a newcomer may have ended the pause."""
        if self._others.take_newcomer():
            saved = msgspec.structs.replace(saved, asking=saved.asking.roused())
        self.resume(saved)
        return saved

    def resume(self, saved: Saved) -> None:
        """From now on partners are chosen, or none are."""
        self._others.seek(not self.pauses(saved))

    def pauses(self, saved: Saved) -> bool:
        """Whether this round asks nobody. A settled peer has pauses of its own between its rounds, each of which asks
        (`peers.core.plateau`)."""
        return self._pauses and saved.asking.waits > 0 and not saved.plateau.settled

    def after(self, saved: Saved, ended: Merging, distilled: Distilled | None) -> Asking:
        """The state after a round of `saved`, in which this was distilled. One in which nobody was tried, for another
        reason than a pause, changes nothing."""
        asking, people = saved.asking, ended.participants
        taught = distilled is not None and distilled.share > 0 and any(one.teaches for one in people.foreign)
        merged = ended.choice.guard == "taken" or taught
        if not self._pauses:
            return asking
        if self.pauses(saved):
            return asking.paused()
        tried = people.members or any(one.left != "paused" for one in people.left)
        if not tried or (saved.plateau.settled and not merged):
            return asking
        return asking.asked(merged=merged, patience=self._patience)

    def told(self, before: Asking, after: Asking, loss: float) -> list[Log]:
        """The line to log where a pause begins, at this trust loss."""
        if after.pauses == before.pauses or not after.waits:
            return []
        where = f"a perplexity of {math.exp(loss):.4g}" if loss < _LARGEST else f"a loss of {loss:.3g}"
        times = f"{after.fruitless} rounds" if after.fruitless > 1 else "a round"
        text = (
            f"nobody here helps you: {times} in a row brought no whole merge; alone you are at {where} on your trust "
            f"text. Asking again in {after.waits} rounds, or when somebody new comes"
        )
        return [note(self._me, "info", text)]


_LARGEST: Final = 50.0
"""Nats above which a loss is shown as it is, because its perplexity says nothing."""
