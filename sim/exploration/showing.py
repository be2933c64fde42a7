"""Shows a violation: the world, the part of its history that led there, and the command that runs it again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any

import msgspec

from sim.exploration.checks.table import Outcome
from sim.exploration.checks.violation import Violation
from sim.world.agenda import EPOCH
from sim.world.trace import Happened
from wire.digest import Content, short

EVENTS_SHOWN = 12
"""Events of the concerned peer that are shown. Guess: a round takes about as many."""
_LONGEST = 60


def lines_of(outcome: Outcome, violation: Violation) -> Iterator[str]:
    """`outcome` is of the world in which `violation` was seen."""
    plan = outcome.plan
    link, topology = plan.conditions.link, plan.conditions.topology
    yield f"{len(plan.peers)} peers, {plan.form} adapters, {link}, {topology}"
    for part in plan.parts:
        yield f"  {part}"
    yield f"{violation.invariant}: {violation.peer or 'the world'} {violation.text}"
    if outcome.explored is not None:
        for happened in _leading_to(violation, outcome.explored.world.log):
            yield f"  {happened.at - EPOCH:8.2f} s  {_shown(happened.event)}  ->  {_all(happened.effects)}"


def replay(seed: int, kept: Iterable[int] | None) -> str:
    """The command that runs a world again, with all its parts or some."""
    parts = "" if kept is None else f" --keep {','.join(map(str, kept)) or 'none'}"
    return f"gossipllm sim explore --seeds {seed}{parts}"


def _leading_to(violation: Violation, log: list[Happened]) -> list[Happened]:
    until = log[: violation.event + 1]
    if not until:
        return []
    names = until[-1].peer
    return [one for one in until if one.peer == names][-EVENTS_SHOWN:]


def _all(effects: Iterable[Any]) -> str:
    return ", ".join(_shown(effect) for effect in effects) or "nothing"


def _shown(one: Any) -> str:
    """The kind of an event or effect, with its fields cut short."""
    fields = (f"{name}={_value(getattr(one, name))}" for name in one.__struct_fields__)
    return f"{type(one).__name__}({', '.join(fields)})"


def _value(value: Any) -> str:
    match value:
        case Content():
            return short(value.digest)
        case bytes():
            return f"{len(value)} bytes"
        case Enum():
            return str(value.value)
        case msgspec.Struct():
            return type(value).__name__
        case _:
            text = str(value)
            return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
