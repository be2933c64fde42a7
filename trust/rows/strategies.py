"""The table of strategies: how each strategy turns evidence about neighbours into weights.

To add a strategy, write a function from neighbours to weights in a file of its own, and an entry in this table. The
configuration, rows, `trust explain`, the round and the simulator read it. Settings of a strategy go to `TrustConfig`
and to `StrategySettings`; a new kind of evidence goes to `evidence_kinds.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, Protocol, TypeAlias

from trust.rows.baselines.fixed import fixed_weights
from trust.rows.baselines.fomo import gain_weights
from trust.rows.baselines.published import published_weights, sharpened_weights
from trust.rows.baselines.robust import balance_weights, ubar_weights
from trust.rows.evidence import Neighbour
from trust.rows.evidence_kinds import Evidence, Factor
from trust.rows.softmax import soft_weights

Form: TypeAlias = Literal["ours", "paper-text", "paper-code"]
"""The form in which a strategy computes rows: ours, or as Wagner et al. (2024) published it."""


class StrategySettings(Protocol):
    """The settings that strategies read of `TrustConfig`.

    A protocol rather than the class, because `config.py` imports this table to check the strategy's name.
    """

    @property
    def temperatures(self) -> tuple[float, ...]: ...
    @property
    def product_of(self) -> tuple[Factor, ...]: ...
    @property
    def fixed(self) -> tuple[str, ...]: ...
    @property
    def balance_reach(self) -> float: ...
    @property
    def balance_decay(self) -> float: ...


Proposals: TypeAlias = list[tuple[float | None, list[float]]]
"""(temperature, weights) of each row to try: `(K+1,)` weights that sum to 1, the peer itself first. The temperature
is None for a strategy without temperatures."""

MakeWeights: TypeAlias = Callable[[StrategySettings, Sequence[Neighbour]], Proposals]
"""Computes weights from evidence alone, for at least one neighbour. `rows.candidate_rows` applies age and amounts of
text afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedForm:
    """A strategy as Wagner, Fan and Jaggi (2024, arXiv 2404.09753) published it: one kind of evidence, one row."""

    evidence: Evidence
    weights: Callable[[Sequence[Neighbour]], list[float]] = published_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """One strategy: what it measures, how it computes weights, and which rules apply to its rows."""

    about: str
    """One line for lists of strategies."""

    explanation: str
    """How evidence becomes weights, in sentences for `trust explain`; `{me}` is the peer that the row belongs to."""

    evidence: Callable[[StrategySettings], tuple[Evidence, ...]] = lambda _: ()
    """The kinds of evidence that are measured of each neighbour, in the order of `Neighbour.distances`."""

    weights: MakeWeights | None
    """Computes the rows to try; None where the learner fits the row by gradient steps from `rows.starting_row`."""

    published: Mapping[Form, PublishedForm] = field(default_factory=lambda: MappingProxyType({}))
    """The strategy's published forms; empty where there are none."""

    tries_temperatures: bool = False
    """Whether the strategy proposes one row for each temperature."""

    decays: bool = False
    """Whether weights fall with the age of an announcement in our form. Beyond `max_age` none counts in any form."""

    counts_text: bool = True
    """Whether `tokens_power` applies to the row."""

    takes_everybody: bool = False
    """Whether a row covers all peers of a network rather than the nearest ones."""

    merges: bool = True
    """Whether the strategy ever uses a neighbour's adapter."""

    obstacle: Callable[[StrategySettings], str] = lambda _: ""
    """Why the settings give no row to compare with other strategies; "" where they do."""

    @property
    def fitted(self) -> bool:
        """Whether the learner fits the row, rather than evidence determining it."""
        return self.weights is None


def _soft(*kinds: Evidence) -> MakeWeights:
    return lambda settings, neighbours: soft_weights(kinds, neighbours, settings.temperatures)


def _uniform(neighbours: Sequence[Neighbour]) -> list[float]:
    count = len(neighbours) + 1
    return [1 / count] * count


_NEARER: Final = "The nearer, the more."
_OWN_NEAREST: Final = " {me} itself counts as near as its nearest neighbour."

STRATEGIES: Final[dict[str, Strategy]] = {
    "local": Strategy(
        about="every peer trains alone",
        explanation="The strategy is to stay alone: no neighbour gets anything.",
        weights=lambda _, neighbours: [(None, [1.0, *(0.0 for _ in neighbours)])],
        counts_text=False,
        merges=False,
    ),
    "uniform": Strategy(
        # With `tokens_power` 1 this is federated averaging, arXiv 1602.05629.
        about="plain averaging over all peers",
        explanation="The strategy is plain averaging: all peers get the same weight.",
        weights=lambda _, neighbours: [(None, _uniform(neighbours))],
        takes_everybody=True,
    ),
    "predictions": Strategy(
        about="prediction similarity on the reference set",
        explanation=_NEARER + _OWN_NEAREST,
        evidence=lambda _: ("predictions",),
        weights=_soft("predictions"),
        published={
            "paper-text": PublishedForm(evidence="logits"),
            "paper-code": PublishedForm(evidence="logits", weights=sharpened_weights),
        },
        tries_temperatures=True,
        decays=True,
    ),
    "weights": Strategy(
        about="weight similarity: cosine of the effective updates B A",
        explanation=_NEARER + _OWN_NEAREST,
        evidence=lambda _: ("weights",),
        weights=_soft("weights"),
        published={
            "paper-text": PublishedForm(evidence="parameters"),
            "paper-code": PublishedForm(evidence="row-cosines"),
        },
        tries_temperatures=True,
        decays=True,
    ),
    "validation": Strategy(
        about="validation loss of the neighbour's adapter on this peer's trust split",
        explanation=_NEARER,
        evidence=lambda _: ("validation",),
        weights=_soft("validation"),
        published={
            "paper-text": PublishedForm(evidence="validation"),
            "paper-code": PublishedForm(evidence="perplexity"),
        },
        tries_temperatures=True,
        decays=True,
    ),
    "product": Strategy(
        about="several of predictions, weights and validation together",
        explanation=_NEARER + " The distances of both kinds add up." + _OWN_NEAREST,
        evidence=lambda settings: settings.product_of,
        weights=lambda settings, neighbours: soft_weights(
            settings.product_of, neighbours, settings.temperatures
        ),
        tries_temperatures=True,
        decays=True,
    ),
    "learned": Strategy(
        about="the row that lowers this peer's trust loss, by gradient steps on it",
        explanation="The row itself was learned: weights were moved, step by step, to where the merge does better on "
        "{me}'s trust text.",
        weights=None,
    ),
    "fomo": Strategy(
        about="FedFomo: loss gained per distance, only neighbours that help",
        explanation="Weights are in proportion to how much each adapter lowers {me}'s loss for its distance; a peer "
        "that does not lower it gets none.",
        evidence=lambda _: ("progress",),
        weights=lambda _, neighbours: [(None, gain_weights(neighbours))],
    ),
    "balance": Strategy(
        about="BALANCE: equal weights for neighbours within a ball that shrinks with the rounds",
        explanation="Neighbours whose adapters are within a radius around {me}'s own share a half equally; others get "
        "none. The radius shrinks with {me}'s rounds.",
        evidence=lambda _: ("distance",),
        weights=lambda settings, neighbours: [
            (
                None,
                balance_weights(neighbours, reach=settings.balance_reach, decay=settings.balance_decay),
            )
        ],
    ),
    "ubar": Strategy(
        about="UBAR: equal weights for the nearest half of the neighbours, if their loss is no higher",
        explanation="The nearest half of the neighbours, without those whose adapters do worse on {me}'s text than its "
        "own, share a half equally; others get none.",
        evidence=lambda _: ("distance", "validation"),
        weights=lambda _, neighbours: [(None, ubar_weights(neighbours))],
    ),
    "fixed": Strategy(
        about="weights that the settings give",
        explanation="The weights were given in the settings; the weights of absent peers stay with {me}.",
        weights=lambda settings, neighbours: [(None, fixed_weights(settings.fixed, neighbours))],
        counts_text=False,
        takes_everybody=True,
        obstacle=lambda settings: "" if settings.fixed else "no weights are given",
    ),
}
"""Strategies by their name in `trust.strategy`, in the order in which lists show them."""
