"""Peers of other bases and tokenizers for scripts of the core: what they announce, and what is asked for of it."""

from __future__ import annotations

import msgspec

from gossipllm.config import LearnerConfig
from gossipllm.work import Confirm, Confirmation, Confirmed, Merge, Request
from peers.core.config import DefenceConfig
from peers.core.effects import Effect, Pull
from peers.core.events import Heard
from sim.toy.learner import fingerprints
from support.core_bench import Bench, RemotePeer
from support.effects import every, requests
from support.messages import AnnouncementFields
from wire.digest import Content
from wire.messages import BlobRef

OTHER = fingerprints("other")
TONGUE = fingerprints("tongue:other")
HUGE = BlobRef(digest=b"h" * 32, size=2**31 - 1)
DISTILS = LearnerConfig(also="distil")
CONFIRMING = DefenceConfig(newcomers=0.5, own_share=0.0, commit=False)
GOOD = Confirmation(gain=0.5, error=0.1, mismatch=0.0, twin=0, size=1.0)


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
