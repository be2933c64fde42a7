"""What the core asked for, picked out of a list of effects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from gossipllm.work import Absorb, Confirm, Evaluate, Fit, Merge, Open, Request, Restore, Train, Weigh
from peers.core.effects import Answer, Effect, Judge, Log, Verdict
from trust.record.history import Note, Record, Refusal, Round
from wire.codec import decode_reply
from wire.messages import Reply

E = TypeVar("E")


def only(effects: Sequence[Effect], kind: type[E]) -> E:
    """The single effect of this kind; fails where there are none or several."""
    (found,) = [effect for effect in effects if isinstance(effect, kind)]
    return found


def every(effects: Sequence[Effect], kind: type[E]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


def requests(effects: Sequence[Effect]) -> list[Request]:
    return [
        effect
        for effect in effects
        if isinstance(effect, Open | Train | Weigh | Confirm | Evaluate | Fit | Merge | Absorb | Restore)
    ]


def records(effects: Sequence[Effect]) -> list[Record]:
    return [effect.record for effect in every(effects, Log)]


def notes(effects: Sequence[Effect]) -> list[str]:
    return [record.text for record in records(effects) if isinstance(record, Note)]


def refusals(effects: Sequence[Effect]) -> list[tuple[str, str]]:
    """The peer and the field of each refusal."""
    return [(record.about, record.field) for record in records(effects) if isinstance(record, Refusal)]


def refusal_record(effects: Sequence[Effect]) -> Refusal:
    """The only record among the effects, which is a refusal."""
    (record,) = records(effects)
    assert isinstance(record, Refusal)
    return record


def verdict(effects: Sequence[Effect]) -> Verdict:
    """The first verdict on a frame."""
    return every(effects, Judge)[0].verdict


def answered_reply(effects: Sequence[Effect]) -> Reply:
    """The reply in the only answer to a greeting, which has one."""
    reply = only(effects, Answer).reply
    assert reply is not None
    return decode_reply(reply)


def round_record(effects: Sequence[Effect]) -> Round:
    """The only record among the effects, which is a round's."""
    (record,) = records(effects)
    assert isinstance(record, Round)
    return record
