"""Push-sum: the exact weighted mean over all peers, found by exchanging mass with neighbours only.

Each peer has a mass: numerators x, at first weight * theta, and a denominator y, at first its weight. A push splits
the mass into equal shares, one for each receiver and one that stays; what is received is added. The network's
sums of x and of y never change, so x / y tends to sum(weight * theta) / sum(weight) wherever every peer
reaches every other again and again, along edges that need not be mutual and may change from round to round
(Kempe, Dobra and Gehrke 2003; with local steps between pushes, Assran et al., arXiv 1811.10792).

    theta, weight -> Mass.begin
    push(receivers) -> totals for each        receive(sender, totals, round=...)
    add(delta, weight): a local step          estimate() -> x / y

**Loss, repetition, delay.** A message does not carry a share. It carries all that its sender ever pushed along this
edge, and the receiver takes the difference to what it had (running sums: Hadjicostis, Vaidya and
Dominguez-Garcia 2016). The next message that arrives brings what lost ones did not; a repeated one brings
nothing; one that is overtaken is known by its round and ignored. Until then `sent` there less `received` here is the
mass in flight.

**Exactly.** In floating point a sum of differences is not the difference of sums, and mass would leak. So mass is
counted in whole units of 2^-40, as 64-bit integers, and totals modulo 2^64: they may wrap around, their differences
do not. What a division leaves over stays at home. The network's sums are conserved to the last bit under any schedule.

**Range.** A peer begins with at most 2^13 in each numerator and in the weight, so that the mass of five hundred peers,
all at the limit, fits into one. Weights are relative: let them be about 1. No push leaves a peer, or gives to another,
less than 2^-20 of denominator: that peer pushes nothing until it receives. So a denominator that is not 0 has
at least 20 bits. What a push rounds moves an estimate by a millionth at worst, by 1e-12 where y is about 1.

**Peers that leave** take their mass along, and what is in flight to them. Numerators and denominator are lost
together, so the others' mean remains a weighted mean of what the peers brought, with other weights. There is no way to
reclaim: acknowledged or not, a share that a peer received just before it vanished may already have been pushed on, and
would then count twice. So push only to peers that were heard from lately. Mass in flight to a peer that is merely slow
arrives when the peer returns.

**Peers that lie.** A peer that invents mass moves the mean of all, and no receiver can tell. What it can move is
bounded by what the receiver brought into the network itself, its *own* mass, which nobody else changes:

    impossible   less weight than before, or numerators without weight: refused
    implausible  a share whose mean is more than `FAR` times as long as the own one, or whose counts differ from the own
                 ones by more than a factor `MOST`, or which has less weight than any push: not taken. Later shares
                 include it, so the mean that a peer cannot take yet, because it has just joined, is taken when its own
                 mass has grown.
    too heavy    more than `MOST` times the own weight, or `MOST`: that much is taken now, the rest with later shares

So for any shares whatever an estimate stays finite, and no longer than `FAR` times the own mean but for the own local
steps (`push.MOST_GAIN` bounds what they do where a peer gave away nearly all of its weight). That is survival, not
trust: a liar can hold an honest peer anywhere within these bounds. Where that is not enough, merge by trust rows.

**Room.** Totals cannot be forgotten: without them, the next message of an edge would count twice. So over its life a
mass pushes to the first `MOST_EDGES` receivers and takes from as many senders. Any further peer gets nothing, and
what it pushes here stays in flight, as with a peer that left. To reach further peers, a peer must start again under a
new name.

Axes: N numerators; M = N + 1, the denominator last. A peer keeps two vectors of M for each neighbour.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wire.errors import WireError

F64: TypeAlias = NDArray[np.float64]
I64: TypeAlias = NDArray[np.int64]
U64: TypeAlias = NDArray[np.uint64]
Array: TypeAlias = F64 | I64 | U64

UNIT: Final = 2.0**-40
"""Twelve decimal digits at 1, below what float32 resolves there, and 2^23 before an integer overflows."""

MAX_MASS: Final = 2.0**13
"""The largest numerator, and weight, to begin with or to add in one step."""

LEAST_WEIGHT: Final = 2.0**-10
"""The smallest weight above 0: a thousandth of the usual 1 still has nine decimal digits."""

MOST_EDGES: Final = 32
"""Receivers in a mass's life, and senders; each costs 8 bytes for every number, here and in snapshots. Guess."""

MOST: Final = 64
"""Largest ratio of two peers' weights or counts that is taken for honest. Guess."""

FAR: Final = 16.0
"""Largest ratio of the lengths of another peer's mean and the own one. Guess: an adapter that starts from random
factors grows by less in its whole training; one that starts from 0 by as much from its first rounds to its last."""

_LEAST_PUSHED: Final = 2**20
"""The smallest share of denominator, in units: 2^-20."""

_MOST_HELD: Final = 2**62
"""Bound of a peer's mass in units, so that a sum of two stays below 2^63."""

_SENT: Final = "sent/"
_RECEIVED: Final = "received/"
_ROUND: Final = "round/"


class Mass:
    """One peer's numerators and denominator, and the totals of its edges.

    A neighbour's name identifies its totals. A neighbour that lost its totals must come back under a new name.
    """

    def __init__(self, state_M: I64, estimate_N: F64, own_M: F64) -> None:
        self._state_M = state_M
        self._own_M = own_M
        self._estimate_N = estimate_N
        self._sent: dict[str, U64] = {}
        self._received: dict[str, U64] = {}
        self._rounds: dict[str, int] = {}

    @classmethod
    def begin(cls, theta_N: F64, weight: float) -> Mass:
        """`theta_N` with its weight: 0 for a peer that only wants to know, else `LEAST_WEIGHT` to `MAX_MASS`.

        Raises `ValueError` where weight * theta is not finite or above `MAX_MASS`.
        """
        if weight and not LEAST_WEIGHT <= weight <= MAX_MASS:
            raise ValueError(f"weight must be 0 or in {LEAST_WEIGHT:g}..{MAX_MASS:g}, got {weight}")
        theta_N = np.array(theta_N, dtype=np.float64)
        if theta_N.ndim != 1 or not np.all(np.isfinite(theta_N)):
            raise ValueError(f"theta must be one axis of finite numbers, got shape {theta_N.shape}")
        state_M = _with_denominator(_units(theta_N, weight), round(weight / UNIT))
        return cls(state_M, theta_N, state_M.astype(np.float64))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Mass:
        """What `arrays` gave; `KeyError` where something is missing. Earlier versions kept no own mass; what is held
        takes its place."""
        state_M = arrays["state"].astype(np.int64)
        estimate_N, own_M = np.split(arrays["estimate"].astype(np.float64), [len(state_M) - 1])
        mass = cls(state_M, estimate_N, own_M if own_M.size else state_M.astype(np.float64))
        for key, values in arrays.items():
            if key.startswith(_SENT):
                mass._sent[key.removeprefix(_SENT)] = values.astype(np.uint64)
            elif key.startswith(_RECEIVED):
                mass._received[key.removeprefix(_RECEIVED)] = values.astype(np.uint64)
            elif key.startswith(_ROUND):
                mass._rounds[key.removeprefix(_ROUND)] = int(values[0])
        return mass

    @property
    def sent(self) -> Mapping[str, U64]:
        """Totals pushed to each receiver, `(M,)`: the last message to each, to be sent again at will."""
        return self._sent

    @property
    def received(self) -> Mapping[str, U64]:
        """Totals last received from each sender, `(M,)`."""
        return self._received

    @property
    def state_M(self) -> I64:
        """The mass that this peer holds, in units of `UNIT`."""
        return self._state_M

    @property
    def weight(self) -> float:
        """The denominator."""
        return float(self._state_M[-1] * UNIT)

    def push(self, receivers: Collection[str]) -> dict[str, U64]:
        """Split the mass equally among `receivers` and ourselves; the totals to send to each, `(M,)`.

        What the division leaves over stays here. Where the shares would be too small, no mass moves, and the totals
        are those of the last push. Receivers beyond `MOST_EDGES` get nothing, the last ones named here.
        """
        names = self._admitted(receivers)
        share_M = self._state_M // (len(names) + 1)
        if share_M[-1] < _LEAST_PUSHED:
            share_M = np.zeros_like(share_M)
        for name in names:
            self._give(name, share_M)
        return {name: self._sent[name] for name in names}

    def receive(
        self,
        sender: str,
        totals_M: U64,
        *,
        round: int,  # noqa: A002 - a round is called a round
        counts: int = 0,
        unit: float = 4.0,
    ) -> bool:
        """Take what `sender` pushed since its last message, or as much of it as is plausible; False for a message no
        newer than that one, for an implausible one, and for a sender beyond `MOST_EDGES`.

        `round` is the sender's, and grows with each of its pushes. The last `counts` numerators are counts. Of the
        others, the own mean counts as if it were at least `unit` in each. Raises `WireError`, and takes nothing, for
        mass that no honest peer can have pushed.
        """
        if round < 0:
            raise ValueError(f"round must be at least 0, got {round}")
        if totals_M.shape != self._state_M.shape:
            raise WireError("pushsum.totals", f"{totals_M.size} numbers, here are {self._state_M.size}")
        if round <= self._rounds.get(sender, round - 1):
            return False
        if sender not in self._received and len(self._received) >= MOST_EDGES:
            return False
        gained_M = (totals_M - self._received.get(sender, _nothing(self._state_M))).view(np.int64)
        if gained_M[-1] < 0:
            raise WireError("pushsum.weight", "the total fell")
        if not (_within(gained_M) and _within(self._state_M + gained_M)):
            raise WireError("pushsum.totals", "more mass than there can be")
        if not gained_M[-1] and gained_M.any():
            raise WireError("pushsum.weight", "numerators without weight")
        if not self._plausible(gained_M, counts, unit):
            return False
        taken_M = self._bounded(gained_M)
        self._state_M = self._state_M + taken_M
        self._received[sender] = self._received.get(sender, _nothing(self._state_M)) + taken_M.view(np.uint64)
        self._rounds[sender] = round
        return True

    def add(self, delta_N: F64, weight: float) -> None:
        """A local step: weight * delta more in the numerators, so that the network's mean moves by its weighted part.

        Raises `ValueError` where weight * delta, or what is held with it, is out of range.
        """
        step_N = _units(np.asarray(delta_N, dtype=np.float64), weight)
        if step_N.shape != self._estimate_N.shape:
            raise ValueError(f"delta must have shape {self._estimate_N.shape}, got {step_N.shape}")
        step_M = _with_denominator(step_N, 0)
        if not _within(self._state_M + step_M):
            raise ValueError(f"numerators must stay below {_MOST_HELD * UNIT:g}")
        self._state_M = self._state_M + step_M
        self._own_M = self._own_M + step_M

    def estimate(self) -> F64:
        """x / y, `(N,)`. Without a denominator, because nothing came yet, what it began with."""
        if self._state_M[-1] > 0:
            self._estimate_N = self._state_M[:-1] / self._state_M[-1]
        return self._estimate_N.copy()

    def arrays(self) -> dict[str, Array]:
        """The whole mass, for a snapshot. Save it after a push and before the totals are sent: a peer that resumes from
        before a push holds what others have already."""
        return {
            "state": self._state_M,
            "estimate": np.concatenate((self._estimate_N, self._own_M)),
            **{_SENT + name: totals for name, totals in self._sent.items()},
            **{_RECEIVED + name: totals for name, totals in self._received.items()},
            **{_ROUND + name: np.array([number]) for name, number in self._rounds.items()},
        }

    def _admitted(self, receivers: Collection[str]) -> list[str]:
        """Each once, in their order: those pushed to before, and new ones as long as there is room."""
        names, room = list[str](), MOST_EDGES - len(self._sent)
        for name in dict.fromkeys(receivers):
            new = name not in self._sent
            if room > 0 or not new:
                names.append(name)
                room -= new
        return names

    def _plausible(self, gained_M: I64, counts: int, unit: float) -> bool:
        """Whether the mean of a share is near enough to the own one. A peer that brought no weight takes any."""
        weight, own_weight = float(gained_M[-1]), float(self._own_M[-1])
        if not weight or not own_weight:
            return True
        if weight < _LEAST_PUSHED:
            return False
        mean_N, own_N = gained_M[:-1] / weight, self._own_M[:-1] / own_weight
        split = len(mean_N) - counts
        length = max(float(np.linalg.norm(own_N[:split])), unit * split**0.5)
        if np.linalg.norm(mean_N[:split]) > FAR * length:
            return False
        theirs, ours = mean_N[split:], own_N[split:]
        # Who counted nothing in its last local steps has no yardstick.
        return bool(np.all((ours <= 0) | ((theirs >= ours / MOST) & (theirs <= ours * MOST))))

    def _bounded(self, gained_M: I64) -> I64:
        """The part of a share that is not above `MOST` times the own weight, which counts as at least 1."""
        most = MOST * round(max(float(self._own_M[-1]), 1 / UNIT))
        if gained_M[-1] <= most:
            return gained_M
        part_M = np.trunc(gained_M * (most / float(gained_M[-1]))).astype(np.int64)
        part_M[-1] = most
        return part_M

    def _give(self, name: str, share_M: I64) -> None:
        self._sent[name] = self._sent.get(name, _nothing(share_M)) + share_M.view(np.uint64)
        self._state_M = self._state_M - share_M


def encode_totals(totals_M: U64) -> bytes:
    """8 bytes for each number, little-endian, modulo 2^64."""
    return totals_M.astype("<u8").tobytes()


def decode_totals(data: bytes, parameters: int) -> U64:
    """`(M,)` for N `parameters`. Raises `WireError` for any other length; any numbers are totals."""
    size = 8 * (parameters + 1)
    if len(data) != size:
        raise WireError("pushsum.length", f"{len(data)} bytes, {parameters} parameters have {size}")
    return np.frombuffer(data, dtype="<u8").astype(np.uint64)


def _units(values_N: F64, weight: float) -> I64:
    """weight * values in whole units, to the nearest."""
    # What overflows here is infinite, and refused below.
    with np.errstate(over="ignore", invalid="ignore"):
        mass_N = values_N * weight
    if not np.all(np.abs(mass_N) <= MAX_MASS):
        raise ValueError(
            f"weight times values must be finite and at most {MAX_MASS:g}, got {np.abs(mass_N).max()}"
        )
    return np.rint(mass_N / UNIT).astype(np.int64)


def _with_denominator(numerators_N: I64, denominator: int) -> I64:
    return np.concatenate((numerators_N, np.array([denominator], dtype=np.int64)))


def _within(mass_M: I64) -> bool:
    return bool(np.all((mass_M > -_MOST_HELD) & (mass_M < _MOST_HELD)))


def _nothing(like_M: I64) -> U64:
    return np.zeros(like_M.shape, dtype=np.uint64)
