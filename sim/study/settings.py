"""The axes of the study and one setting on them: how a fleet trains, merges and waits.

A fleet of `Fleet` devices has one summed speed, however it is divided, so that fleets can be held against each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from trust.errors import UserMistake

SPEEDS: Final = (1, 2, 4, 8)
"""Speeds of unequal devices, cycled over the peers."""
WATTS: Final = (4.0, 10.0, 30.0, 100.0)
"""Watts of these devices while they work: a phone, a tablet, a laptop and a workstation. Guess. Equal devices have the
mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """How fast devices are, how many steps their rounds have, and whom a round waits for."""

    about: str
    speeds: tuple[int, ...] = SPEEDS
    by_speed: bool = False
    """Whether a round's steps are in proportion to speed, so that all rounds take equally long."""
    timed: bool = False
    """Whether each device finds these steps itself, from the pace of its rounds so far; the first has equal steps."""
    barrier: bool = True
    """Whether a round waits for that round's updates of all."""
    patience_s: float = 1e4
    """Most virtual seconds that a round waits."""

    @property
    def equal(self) -> bool:
        return len(self.speeds) == 1


FLEETS: Final[dict[str, Fleet]] = {
    "equal": Fleet(about="equal devices of the same summed speed, which wait for all", speeds=(1,)),
    "wait": Fleet(about="equal steps, and each round waits for the slowest"),
    "by-speed": Fleet(about="steps in proportion to speed, and each round waits for all", by_speed=True),
    "loose": Fleet(
        about="steps in proportion to speed, and the default patience",
        by_speed=True,
        barrier=False,
        patience_s=20.0,
    ),
    "timed": Fleet(
        about="rounds of one length by each one's measured pace (round.seconds), and the default patience",
        barrier=False,
        patience_s=20.0,
        timed=True,
    ),
    "own-time": Fleet(
        about="equal steps, rounds of one's own, and the default patience", barrier=False, patience_s=20.0
    ),
    "no-wait": Fleet(about="equal steps, and nobody waits for anybody", barrier=False, patience_s=0.0),
}
"""Name -> how devices differ, and how their rounds go together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merging:
    """How a round's updates become one: a name of `gossipllm sim --list`, and the outer optimiser's two numbers."""

    about: str
    method: str
    momentum: float = 0.0
    rate: float = 1.0


def _nova_rate(speeds: Sequence[int]) -> float:
    """FedNova's effective number of steps over their mean: `x + tau_eff sum_i p_i delta_i / tau_i` (Wang et al. 2020,
    2007.07481, eq. 6) with steps `tau_i` and weights `p_i` in proportion to speed is the mean of the changes times
    this."""
    return sum(speed**2 for speed in speeds) * len(speeds) / sum(speeds) ** 2


MERGINGS: Final[dict[str, Merging]] = {
    "mean": Merging(about="the mean of all", method="fedavg"),
    "tokens": Merging(about="weighted by what each trained on", method="tokens"),
    "nova": Merging(
        about="weighted by tokens, each change divided by its steps (FedNova)",
        method="fedavg+nesterov",
        rate=_nova_rate(SPEEDS),
    ),
    "nesterov": Merging(
        about="Nesterov momentum over the mean (DiLoCo)", method="fedavg+nesterov", momentum=0.5, rate=0.7
    ),
    "noloco": Merging(
        about="momentum over the mean (NoLoCo)", method="fedavg+noloco", momentum=0.5, rate=0.7
    ),
}
"""Name -> outer optimiser or weights. FedNova is a mean whose move is lengthened, because steps are in proportion to
tokens; it is for rounds with steps by speed."""

FLAT: Final = "flat"
FALLING: Final = "falling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One cell of the grid."""

    batch: int = 2
    """Windows of a local batch."""
    rate: float = 4e-3
    """Peak rate of AdamW."""
    tokens: int = 2048
    """Tokens of a round of a device of mean speed, which are its steps times the batch."""
    schedule: str = FALLING
    merge: str = "mean"
    fleet: str = "equal"

    @property
    def name(self) -> str:
        """Names the cell's file."""
        return f"{self.fleet}-{self.merge}-{self.schedule}-batch{self.batch}-rate{self.rate:g}-round{self.tokens}"

    def steps(self, window_tokens: int) -> int:
        """Local steps of a round of a device of mean speed."""
        return max(1, round(self.tokens / (self.batch * window_tokens)))


AXES: Final[dict[str, tuple[Any, ...]]] = {
    "batch": (1, 2, 4, 8),
    "rate": (1e-3, 4e-3, 1.6e-2, 6.4e-2),
    "tokens": (512, 2048),
    "schedule": (FALLING, FLAT),
    "merge": tuple(MERGINGS),
    "fleet": ("equal", "by-speed", "loose", "no-wait"),
}
"""Axis -> its default values: numbers in order, names with that of the corners first. Batches above 8 windows leave no
two rounds in the default budget. Waiting for the slowest is left out, because it costs what equal devices do in all but
time."""
KNOWN: Final[dict[str, tuple[str, ...]]] = {"fleet": tuple(FLEETS)}
"""Axes of names of which some are left out by default, with all that there are."""
NUMBERS: Final = ("batch", "rate", "tokens")
"""Axes whose values have an order."""


def chosen_axes(texts: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """`AXES` with the values of texts as "batch=1,4" in place of theirs. Raises `UserMistake`."""
    axes = dict(AXES)
    for text in texts:
        name, sign, values = text.partition("=")
        if name not in AXES or not sign:
            raise UserMistake(f"--axis {text}: wanted AXIS=A,B with an axis of {', '.join(AXES)}")
        axes[name] = tuple(_value(name, one.strip()) for one in values.split(","))
    return axes


def allowed(setting: Setting) -> bool:
    """Whether a setting differs from all others: weights by tokens need steps that differ, and FedNova needs them in
    proportion to speed."""
    fleet = FLEETS[setting.fleet]
    return fleet.by_speed or fleet.timed or setting.merge not in ("tokens", "nova")


def moved(setting: Setting, axes: Mapping[str, Sequence[Any]]) -> list[Setting]:
    """The settings that differ from this one by one step along one axis; along an axis of names by any other name."""
    found: list[Setting] = []
    for axis, values in axes.items():
        here = getattr(setting, axis)
        near = values
        if axis in NUMBERS and here in values:
            place = values.index(here)
            near = values[max(0, place - 1) : place + 2]
        found += [replace(setting, **{axis: value}) for value in near if value != here]
    return [one for one in found if allowed(one)]


def _value(axis: str, text: str) -> Any:
    known = KNOWN.get(axis, AXES[axis])
    if axis not in NUMBERS:
        if text not in known:
            raise UserMistake(f"--axis {axis}: unknown {text!r}; known are {', '.join(known)}")
        return text
    try:
        value = int(text) if isinstance(known[0], int) else float(text)
    except ValueError:
        raise UserMistake(f"--axis {axis}: {text!r} is no number") from None
    if not value > 0:
        raise UserMistake(f"--axis {axis}: values must be above 0, got {text}")
    return value
