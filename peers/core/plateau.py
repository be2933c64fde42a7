"""The plateau: this peer's state of least trust loss, how long nothing has been gained, and what follows.

A learner that trains on for ever learns its own text by heart. Its loss on text that it does not train on falls, stays
for a while, and rises. So the least trust loss is remembered, of the states after local steps, of the moving average of
these, and of the states after merges, and the state that has it is kept (`peers.core.saved`). Of many states one has
the least loss by luck, and an average, which varies less from round to round, seldom is that one. So another state
takes the place of an average only where its loss is lower by more than the standard error of their difference (the rule
of one standard error; Breiman et al. 1984, section 3.4.3), or by more than `MOST_HELD`. A round gains where it
brings the least loss more than `GAIN` below the mark, which is what the last gain reached; so slow gains add up.
Patience begins anew, too, where the average falls by as much below the least that was measured of it, although it may
be above the least loss yet: one lucky merge must not end training while the average still gets better.
`SettleConfig.patience` rounds in a row without a gain end training at this rate: the peer goes back to its best state.
Then it trains at a lower rate, if the schedule has one left, or settles.

    constant    one rate; settles when patience runs out
    decay       when patience runs out, the rate falls to `DECAY` of itself, `SettleConfig.decays` times at most
    restarts    the rate falls from its peak to `FLOOR` of it along a cosine over `SettleConfig.patience` rounds, and
                begins again (SGDR, 1608.03983); settles after a whole cycle without a gain

A settled peer rests. It looks at what neighbours announce (a round without local steps), and trains again, at the full
rate, where a merge gains. A look that gains nothing doubles the pause before the next one. Only gains lead to local
steps, each of them lowers the least loss by more than `GAIN`, and a loss is not below zero: so peers that wake each
other come to rest, whatever they announce.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import msgspec

GAIN: Final = 0.002
"""Nats per token by which the least trust loss must fall to count as a gain: 0.2 % of perplexity. Guess, less
than half of what a peer that ends past its best round may lose."""
MOST_HELD: Final = 0.005
"""Nats by which an average may lie above the least loss of any state and still be the best state, however uncertain the
difference is: a peer that is left alone is to end within half a per cent of its best round."""
DECAY: Final = 0.3
"""What a lower rate is of the one before. Guess."""
FLOOR: Final = 0.05
"""Lowest rate of a cycle, as a share of the peak. Guess."""
PAUSE_S: Final = 30.0
"""Seconds that a peer rests at least before it looks again, doubled with each look in a row that gained nothing."""
MOST_PAUSE_S: Final = 3600.0
"""Longest pause between two looks."""

Schedule: TypeAlias = Literal["constant", "decay", "restarts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleConfig:
    """When a peer stops training, and at what rates it trains until then. Needs `round.guard` and rows."""

    patience: int = 8
    """Rounds in a row without a lower trust loss after which this peer goes back to its best state, 0 to 10,000; 0
    trains for ever."""

    schedule: Schedule = "decay"
    """Rates of a run without a known end: "constant"; "decay", lower ones when the trust loss stops falling; or
    "restarts", a cosine over settle.patience rounds, again and again. All share training.learning_rate as the peak."""

    decays: int = 2
    """With "decay", how often the rate falls before the peer settles, 0 to 10. Guess."""

    average: bool = True
    """Whether the moving average of the adapters after local steps may be the best state. It is measured in rounds
    whose local steps gain nothing where the round before did not gain either, which costs a pass over the trust split
    in each of them."""

    def __post_init__(self) -> None:
        if not 0 <= self.patience <= 10_000:
            raise ValueError(f"patience must be in 0..10000, got {self.patience}")
        if not 0 <= self.decays <= 10:
            raise ValueError(f"decays must be in 0..10, got {self.decays}")


NEVER_SETTLES: Final = SettleConfig(patience=0)
"""Rounds follow each other for ever, or until `round.rounds`: what simulations compare methods with."""


class Plateau(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is remembered of the gains up to now. Losses are on the trust split; None is not known yet.

    `least` is the trust loss of the best state, `least_round` the round that made it and `least_test` its loss on the
    test split, which is only reported. `mark` is the loss that the next gain is measured from, `idle` the rounds in a
    row without one, `trained` the rounds since the rate was set, `lowered` how often it was lowered. A `settled` peer
    `looks` where the next round is to be one without local steps; `vain` counts looks in a row that gained nothing.
    `limit` is `round.rounds` as it was when the peer settled. `averaged` says whether the best state is an average.
    `average_mark` is the loss that the next fall of the average is measured from. `average_error` is the standard error
    of the last difference between the average and the state of the same round.
    """

    least: float | None = None
    least_round: int = 0
    least_test: float | None = None
    mark: float | None = None
    idle: int = 0
    trained: int = 0
    lowered: int = 0
    settled: bool = False
    looks: bool = False
    vain: int = 0
    limit: int = 0
    averaged: bool = False
    average_mark: float | None = None
    average_error: float = 0.0

    @property
    def rests(self) -> bool:
        return self.settled and not self.looks

    @property
    def pause_s(self) -> float:
        """Seconds of rest before news may wake this peer."""
        return min(MOST_PAUSE_S, PAUSE_S * 2.0 ** min(self.vain, 30))

    def improves(self, loss: float, *, averaged: bool = False) -> bool:
        """Whether a state of this loss, which may be an average, is the new best state."""
        if not math.isfinite(loss) or self.least is None:
            return math.isfinite(loss)
        held = min(self.average_error, MOST_HELD) if self.averaged and not averaged else 0.0
        return loss < self.least - held

    def gains(self, loss: float) -> bool:
        return math.isfinite(loss) and (self.mark is None or loss < self.mark - GAIN)

    def stepped(
        self, loss: float, round_: int, *, average: float | None = None, error: float = 0.0
    ) -> Plateau:
        """After local steps of `round_` that ended in this loss, where the average of such states has the loss
        `average`, None where it was not measured, and the difference of the two this standard error."""
        after = self
        if after.improves(loss):
            after = _with_best(after, loss, round_)
        if average is None:
            return after
        after = msgspec.structs.replace(after, average_error=error)
        if after.improves(average, averaged=True):
            after = _with_best(after, average, round_, averaged=True)
        if self.average_mark is None:
            return msgspec.structs.replace(after, average_mark=average)
        if average < self.average_mark - GAIN:
            return msgspec.structs.replace(after, average_mark=average, idle=0)
        return after

    def ended(self, loss: float, round_: int, *, test_before: float, test: float) -> Plateau:
        """After the end of `round_`, in a state of this loss. The test losses are those of the state after local steps
        and of the one after the merge."""
        known = self
        # The test loss of an average is measured when the peer goes back to it.
        if self.least is not None and self.least_test is None and not self.averaged:
            known = msgspec.structs.replace(self, least_test=test_before)
        if known.improves(loss):
            known = _with_best(known, loss, round_, test=test)
        gained = known.least is not None and known.gains(known.least)
        if known.settled:
            return (
                known.woken() if gained else msgspec.structs.replace(known, looks=False, vain=known.vain + 1)
            )
        return msgspec.structs.replace(
            known,
            mark=known.least if gained else known.mark,
            idle=0 if gained else known.idle + 1,
            trained=known.trained + 1,
        )

    def spent(self, config: SettleConfig) -> bool:
        """Whether patience ends with this round, after its local steps."""
        if self.settled or not config.patience or self.least is None or self.mark is None:
            return False
        if self.gains(self.least):
            return False
        cycle_ends = config.schedule != "restarts" or (self.trained + 1) % config.patience == 0
        return self.idle + 1 >= config.patience and cycle_ends

    def recalled(self, config: SettleConfig, limit: int, *, test: float) -> Plateau:
        """After patience ended and the best state, of this test loss, was taken back: train at a lower rate, or
        settle."""
        after = msgspec.structs.replace(self, least_test=test, mark=self.least, idle=0, trained=0)
        if config.schedule == "decay" and self.lowered < config.decays:
            return msgspec.structs.replace(after, lowered=self.lowered + 1)
        return msgspec.structs.replace(after, settled=True, looks=True, vain=0, limit=limit)

    def looking(self) -> Plateau:
        """A settled peer that has heard news."""
        return msgspec.structs.replace(self, looks=True)

    def woken(self) -> Plateau:
        """Training goes on from the best state, at the full rate."""
        return Plateau(
            least=self.least,
            least_round=self.least_round,
            least_test=self.least_test,
            mark=self.least,
            averaged=self.averaged,
            average_error=self.average_error,
        )

    def rate(self, config: SettleConfig) -> float:
        """The learning rate of the next local steps, as a share of the configured one."""
        match config.schedule:
            case "constant":
                return 1.0
            case "decay":
                return DECAY**self.lowered
            case "restarts":
                share = (self.trained % max(config.patience, 1)) / max(config.patience - 1, 1)
                return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * share)) / 2


def _with_best(
    plateau: Plateau, loss: float, round_: int, *, test: float | None = None, averaged: bool = False
) -> Plateau:
    return msgspec.structs.replace(
        plateau, least=loss, least_round=round_, least_test=test, averaged=averaged
    )
