"""A learner's side of push-sum: how its local steps enter the network's mean, and with what weight.

The mean that all peers converge to is

    theta_0 + sum over peers and rounds of q_i (gain of peer i) / number of peers,
    q_i = alpha T_i / mean T + (1 - alpha) n_i / mean n,

with T_i the tokens and n_i the samples of a round's local steps, so that peers count by their amount of text. No peer
knows the means over the network. They are found as the adapter is, by two more numerators in the same mass, to which
each round adds what the counts changed by (dynamic average consensus: Zhu and Martinez, Automatica 46, 2010). In the
first rounds a peer knows little more than itself and counts as 1.

Axes: N trained parameters; M numbers of a mass: N, tokens, samples, and the denominator.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gossipllm.learning.merging.push.mass import MOST, U64, Array, Mass, decode_totals, encode_totals
from gossipllm.model.adapter.names import State
from gossipllm.work import PushedShare
from wire.digest import Content
from wire.errors import WireError
from wire.floats import F32
from wire.updates.tensors import Layout

F64 = NDArray[np.float64]

COUNT_UNIT: Final = 2.0**20
"""Tokens and samples are counted in units of 2^20, because a mass begins with and grows by at most 2^13 at a time."""
MOST_GAIN: Final = 4.0
"""By how many times its own local steps a peer's estimate may move by them. The estimate is x / y, so a step that
counts `counts` moves it by counts / y times the step. A peer that pushes more than it receives has a small y. Amplified
a hundred times, a training step overshoots, further in each round, until the mean of the whole network diverges (found
by `gossipllm sim explore`). Such a peer's text counts less for as long as its y is small. Guess."""
COUNTS: Final = 2
"""Tokens and samples."""
UNIT_LENGTH: Final = 2.0**-7
"""What each trained number is taken to be at least, when the length of another peer's mean is judged: an adapter that
starts from 0 has no length before its first local steps. Guess: a few steps at a usual rate."""


@dataclass(frozen=True, slots=True, eq=False)
class Pushed:
    """A mass and the token and sample counts that it holds of this peer. Never changed in place."""

    mass: Mass
    tokens: int = 0
    samples: int = 0

    @staticmethod
    def begin(state: State, layout: Layout) -> Pushed:
        """Raises `ValueError` where a number is too large."""
        return Pushed(Mass.begin(np.concatenate([flat(state, layout), np.zeros(2)]), 1.0))

    @staticmethod
    def restored(arrays: Mapping[str, Array], *, tokens: int, samples: int) -> Pushed:
        return Pushed(Mass.from_arrays(arrays), tokens, samples)

    def after(self, gain_N: F64, *, tokens: int, samples: int, alpha: float) -> Pushed:
        """This mass with the gain of local steps over so many tokens and samples. Raises `ValueError` where it is too
        large."""
        mass = self._copy()
        change = np.array([tokens - self.tokens, samples - self.samples]) / COUNT_UNIT
        mass.add(np.concatenate([np.zeros_like(gain_N), change]), 1.0)
        mean_tokens, mean_samples = mass.estimate()[-2:] * COUNT_UNIT
        counts = alpha * _ratio(tokens, mean_tokens) + (1 - alpha) * _ratio(samples, mean_samples)
        mass.add(np.concatenate([gain_N, np.zeros(2)]), min(counts, MOST_GAIN * mass.weight))
        return Pushed(mass, tokens, samples)

    def pushed(self, receivers: Collection[str], round_number: int) -> tuple[Pushed, tuple[PushedShare, ...]]:
        """This mass after a push, and the totals for each receiver that it has room for (`mass.MOST_EDGES`)."""
        mass = self._copy()
        totals = mass.push(receivers)
        shares = tuple(
            PushedShare(peer=peer, round=round_number, content=Content.of(encode_totals(totals_M)))
            for peer, totals_M in totals.items()
        )
        return Pushed(mass, self.tokens, self.samples), shares

    def absorbed(self, shares: Collection[PushedShare]) -> tuple[Pushed, tuple[str, ...]]:
        """This mass with the shares of others, and the senders of shares that cannot be taken."""
        mass, refused = self._copy(), list[str]()
        for share in shares:
            try:
                mass.receive(
                    share.peer,
                    self._totals(share.content),
                    round=share.round,
                    counts=COUNTS,
                    unit=UNIT_LENGTH,
                )
            except WireError:
                refused.append(share.peer)
        return Pushed(mass, self.tokens, self.samples), tuple(refused)

    def estimate(self, state: State, layout: Layout) -> dict[str, F32]:
        """`state` with its trained tensors replaced by the mass's estimate of the mean."""
        theta_N = self.mass.estimate()[:-2].astype(np.float32)
        whole, first = dict(state), 0
        for spec in layout.tensors:
            whole[spec.name] = theta_N[first : first + spec.count].reshape(spec.shape)
            first += spec.count
        return whole

    def _totals(self, content: Content) -> U64:
        return decode_totals(content.data, len(self.mass.state_M) - 1)

    def _copy(self) -> Mass:
        return Mass.from_arrays(self.mass.arrays())


def flat(state: State, layout: Layout) -> F64:
    """`(N,)`: the tensors of a layout one after the other."""
    return np.concatenate([state[spec.name].ravel() for spec in layout.tensors]).astype(np.float64)


def mass_length(layout: Layout) -> int:
    """M, the length of a mass for adapters of this layout."""
    return sum(spec.count for spec in layout.tensors) + 3


def _ratio(count: int, mean: float) -> float:
    """At most `MOST`, because the means over the network are rough at first."""
    return min(count / mean, float(MOST)) if mean > 0 else 1.0
