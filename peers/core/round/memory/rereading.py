"""Rereading: what follows for the saved state where this peer's own text grew."""

from __future__ import annotations

import msgspec

from gossipllm.work import Opened
from peers.core.course import Course
from peers.core.effects import Effect, Store
from peers.core.events import PeerId
from peers.core.plateau import Plateau
from peers.core.round.learner_supervision import note
from peers.core.saved import Saved
from wire.digest import Content


class Rereading:
    """`wanted` says that the text changed since the learner read it: it is opened again as soon as a round is over."""

    def __init__(self, me: PeerId) -> None:
        self._me = me
        self.wanted = False

    def read(self, saved: Saved, opened: Opened) -> tuple[Saved, list[Effect]]:
        """The state with the ledger of the text that was read. Where the text grew, training begins again: the losses
        up to now are of another text."""
        after = with_text(saved, opened.text)
        if after is saved:
            return saved, []
        stored: list[Effect] = [Store(saved=after)] if after.stage == "training" else []
        return after, [*(grown_note(self._me, opened) if saved.text is not None else []), *stored]


def with_text(saved: Saved, text: Content | None) -> Saved:
    """`saved` with the ledger of the text that its learner has read; the same object where that is no other one.

    Where there was a ledger before, the text grew. Its trust split may have, too, so that losses up to now cannot be
    compared with later ones: what the peer remembers of them is forgotten, and it trains from its present state on.
    """
    if text is None or text == saved.text:
        return saved
    after = msgspec.structs.replace(saved, generation=saved.generation + 1, text=text)
    if saved.text is None:
        return after
    return msgspec.structs.replace(after, course=Course(), good=None, plateau=Plateau(), best=None)


def grown_note(me: PeerId, opened: Opened) -> list[Effect]:
    text = (
        f"its text grew: {opened.train_tokens:,} tokens to train on, {opened.trust_tokens:,} to decide and "
        f"{opened.test_tokens:,} to test by; training again"
    )
    return [note(me, "info", text)]
