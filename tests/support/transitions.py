"""Steps of a core, held against the table of stages."""

from __future__ import annotations

from collections.abc import Sequence

from peers.core.core import Core
from peers.core.effects import Effect
from peers.core.events import Event, Woke
from peers.core.round.stages import SERVING, TRANSITIONS, Kind, Stage, Transition

_TABLE = {(row.stage, kind): row for row in TRANSITIONS for kind in row.events}
_handle = Core.handle


def kind_of(event: Event) -> Kind:
    return type(event.timer) if isinstance(event, Woke) else type(event)


def check_step(
    before: type[Stage], event: Event, after: type[Stage], effects: Sequence[Effect]
) -> Transition | None:
    """The row of the table that allows this step, None for a step that only serves neighbours or does nothing."""
    row = _TABLE.get((before, kind_of(event)))
    made = {type(effect) for effect in effects}
    step = f"{before.__name__} --{kind_of(event).__name__}--> {after.__name__} with {sorted(map(str, made))}"
    if after is before and made <= SERVING:
        return row
    assert row is not None, f"not in the table: {step}"
    assert after in row.to, f"another next stage than the table has: {step}"
    assert made <= {*row.effects, *SERVING}, f"other effects than the table has: {step}"
    return row


def handle_checked(core: Core, event: Event, now: float) -> list[Effect]:
    """`Core.handle`, with the step held against the table."""
    before = type(core.stage)
    effects = _handle(core, event, now)
    check_step(before, event, type(core.stage), effects)
    return effects
