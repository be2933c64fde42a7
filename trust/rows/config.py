"""The [trust] settings, checked against the table of strategies, and the evidence that they require."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, get_args

from trust.rows.baselines.fixed import fixed_shares
from trust.rows.evidence_kinds import Evidence, Factor
from trust.rows.strategies import STRATEGIES, Form, Strategy

TokensCount: TypeAlias = Literal["processed", "total"]
Reduction: TypeAlias = Literal["tokens", "sequences"]
"""What the training loss is a mean over: all loss-bearing tokens, or the mean losses of the windows."""

StrategyName: TypeAlias = Annotated[str, STRATEGIES]
"""A key of the table of strategies. The table in `Annotated` holds the values that a settings file may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustConfig:
    strategy: StrategyName = "predictions"
    """How rows are made: "predictions" (total variation on the reference set), "weights" (cosine of the updates),
    "validation" (loss of the neighbours' adapters on this peer's trust split); "product" (several of these together);
    "learned" (gradient descent on the row itself, for the loss on the trust split); "fomo" (decrease of the loss per
    distance: FedFomo, arXiv 2012.08565); "balance" and "ubar" (equal weights for accepted neighbours: arXiv
    2406.10416 and 2002.12991); "fixed" (the weights in `fixed`), "uniform" (plain averaging), "local" (no
    merging). The first three follow Wagner, Fan and Jaggi (2024), arXiv 2404.09753."""

    form: Form = "ours"
    """How the first three become rows: "ours", or, for comparison, "paper-text" as Wagner et al. (2024) print it and
    "paper-code" as their released code computes it. The published forms have no temperatures and no age discount, and
    "predictions" needs [reference] positions = "last" in them."""

    temperatures: tuple[float, ...] = (4.0, 1.0, 0.25, 0.0625)
    """Temperatures to try, in units of the median distance, falling; 1 to 16 of them, each in 0.001 to 1,000. Each
    costs one evaluation of a merge on the trust split. The default goes from nearly uniform to nearly nearest-only in
    steps of two octaves: seven one octave apart did no better, and 1 or 1/4 alone did worse (sim/FINDINGS.md)."""

    product_of: tuple[Factor, ...] = ("predictions", "weights")
    """For "product": two or three of "predictions", "weights" and "validation", whose weights are multiplied, so that
    a neighbour must be near by each of them. The default is the two that need no pass through the model; together they
    do as well as each alone (sim/FINDINGS.md)."""

    fixed: tuple[str, ...] = ()
    """For "fixed": "PEER=WEIGHT" for each neighbour with a weight, by its id or its announced name; weights from 0 to 1
    that sum to at most 1. The rest, and the weights of absent peers, stay with this peer. Any peer can take a name, so
    peers of one name share its weight; an id belongs to one peer."""

    learned_steps: int = 12
    """For "learned": gradient steps on the row in each round, 1 to 1,000. Each costs one forward and one backward pass
    on the trust split, for any number of neighbours. Guess; good in sim/FINDINGS.md."""

    learned_rate: float = 0.5
    """For "learned": size of a step in the logarithms of the weights, above 0 to 100. Guess; good in
    sim/FINDINGS.md."""

    balance_reach: float = 3.0
    """For "balance": the radius in round 0 within which neighbours are accepted, in times the size of this peer's own
    update; above 0 to 1,000. Guess: honest updates of LoRA were at most 2.1 apart (the run of
    `gossipllm.work.BIND_TOLERANCE`); whole models, for which BALANCE was published, are far nearer to each other."""

    balance_decay: float = 0.0
    """For "balance": the radius after t rounds is `balance_reach * exp(-balance_decay * t)`; 0 to 1, 0 for a constant
    one. The authors divide by a number of rounds that is known in advance, which a peer does not have. Guess."""

    age_decay: float = 0.5
    """The weight of a neighbour whose announcement is `age` rounds old is multiplied by `(1 + age) ** -age_decay`; 0 to
    4, 0 for no decay. Only for "predictions", "weights", "validation" and "product" in our form. Function and value
    from asynchronous federated optimisation, arXiv 1903.03934."""

    max_age: int = 4
    """Rounds after which a neighbour's last announcement no longer counts, for all strategies; 0 to 1,000. Guess."""

    tokens_power: float = 0.0
    """How much the amount of text counts: all weights, this peer's own included, are multiplied by the peer's share of
    the text to this power; 0 to 8, 0 for not at all. With "uniform", 1 is token-weighted averaging. Not for "fixed" and
    "local". Off by default, because counts are the neighbours' own claims."""

    tokens_alpha: float | Literal["auto"] = "auto"
    """How shares of the text are counted: this part by loss-bearing tokens, the rest by samples; 0 to 1, 0 as in
    federated averaging (arXiv 1602.05629). "auto" makes the weighted mean of the peers' losses equal the loss on all
    their text: 1 where the training loss is a mean over tokens, 0 where it is a mean over sequences."""

    tokens_count: TokensCount = "processed"
    """Which text counts: "processed" (trained on since the peer's last announcement) or "total" (since its start)."""

    tokens_cap: float = 2.0
    """Upper bound of a share of the text, in units of the (lower) median share of the peers in the row, this peer
    included; 1 to 1,000. It limits what a false claim of tokens can gain. Guess."""

    def __post_init__(self) -> None:
        for name, allowed in (("strategy", tuple(STRATEGIES)), ("form", get_args(Form))):
            value: str = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        if self.form != "ours" and self.form not in strategy_of(self).published:
            raise ValueError(f'form must be "ours" for strategy {self.strategy!r}, got {self.form!r}')
        self._check_temperatures()
        unknown = [factor for factor in self.product_of if factor not in get_args(Factor)]
        if unknown or len(self.product_of) < 2 or len(set(self.product_of)) < len(self.product_of):
            raise ValueError(
                f"product_of must be at least two different ones of {', '.join(get_args(Factor))}, "
                f"got {', '.join(self.product_of) or 'none'}"
            )
        fixed_shares(self.fixed)
        if not 1 <= self.learned_steps <= 1000:
            raise ValueError(f"learned_steps must be in 1..1000, got {self.learned_steps}")
        if not 0 < self.learned_rate <= 100:
            raise ValueError(f"learned_rate must be in (0, 100], got {self.learned_rate}")
        if not 0 < self.balance_reach <= 1000:
            raise ValueError(f"balance_reach must be in (0, 1000], got {self.balance_reach}")
        if not 0 <= self.balance_decay <= 1:
            raise ValueError(f"balance_decay must be in 0..1, got {self.balance_decay}")
        if not 0 <= self.age_decay <= 4:
            raise ValueError(f"age_decay must be in 0..4, got {self.age_decay}")
        if not 0 <= self.max_age <= 1000:
            raise ValueError(f"max_age must be in 0..1000, got {self.max_age}")
        self._check_tokens()

    def _check_tokens(self) -> None:
        if not 0 <= self.tokens_power <= 8:
            raise ValueError(f"tokens_power must be in 0..8, got {self.tokens_power}")
        alpha = self.tokens_alpha
        if alpha != "auto" and (isinstance(alpha, str) or not 0 <= alpha <= 1):
            raise ValueError(f'tokens_alpha must be in 0..1 or "auto", got {alpha!r}')
        if self.tokens_count not in get_args(TokensCount):
            raise ValueError(
                f"tokens_count must be one of {', '.join(get_args(TokensCount))}, got {self.tokens_count!r}"
            )
        if not 1 <= self.tokens_cap <= 1000:
            raise ValueError(f"tokens_cap must be in 1..1000, got {self.tokens_cap}")

    def _check_temperatures(self) -> None:
        if not 1 <= len(self.temperatures) <= 16:
            raise ValueError(f"temperatures must be 1 to 16 numbers, got {len(self.temperatures)}")
        for temperature in self.temperatures:
            if not 0.001 <= temperature <= 1000:
                raise ValueError(f"temperatures must be in 0.001..1000, got {temperature}")
        if any(b >= a for a, b in zip(self.temperatures, self.temperatures[1:], strict=False)):
            raise ValueError(f"temperatures must fall, got {self.temperatures}")


def strategy_of(config: TrustConfig) -> Strategy:
    """The entry of the configured strategy in the table of strategies."""
    return STRATEGIES[config.strategy]


def evidence_of(config: TrustConfig) -> tuple[Evidence, ...]:
    """The kinds of evidence to measure of each neighbour, in the order of `Neighbour.distances`; may be empty."""
    strategy = strategy_of(config)
    if config.form != "ours":
        return (strategy.published[config.form].evidence,)
    return strategy.evidence(config)


def alpha_of(config: TrustConfig, reduction: Reduction) -> float:
    """`tokens_alpha` as a number. "auto" follows from `reduction`.

    Peers' mean losses, weighted by their shares of the text, then equal the mean loss on all their text together.
    """
    if config.tokens_alpha != "auto":
        return config.tokens_alpha
    return 1.0 if reduction == "tokens" else 0.0
