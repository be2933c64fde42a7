"""What the core asked for, picked out of a list of effects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from gossipllm.work import Absorb, Evaluate, Fit, Merge, Open, Request, Train, Weigh
from peers.core.effects import Effect, Judge, Log, Verdict
from trust.record.history import Note, Record, Refusal, Round

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
        if isinstance(effect, Open | Train | Weigh | Evaluate | Fit | Merge | Absorb)
    ]


def records(effects: Sequence[Effect]) -> list[Record]:
    return [effect.record for effect in every(effects, Log)]


def notes(effects: Sequence[Effect]) -> list[str]:
    return [record.text for record in records(effects) if isinstance(record, Note)]


def refusals(effects: Sequence[Effect]) -> list[tuple[str, str]]:
    """The peer and the field of each refusal."""
    return [(record.about, record.field) for record in records(effects) if isinstance(record, Refusal)]


def verdict(effects: Sequence[Effect]) -> Verdict:
    """The first verdict on a frame."""
    return every(effects, Judge)[0].verdict


def round_record(effects: Sequence[Effect]) -> Round:
    """The only record among the effects, which is a round's."""
    (record,) = records(effects)
    assert isinstance(record, Round)
    return record
