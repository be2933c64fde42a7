"""The settings of [trust], checked against the table of strategies, and what must be measured for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, get_args

from trust.rows.evidence_kinds import Evidence, Factor
from trust.rows.fixed import fixed_shares
from trust.rows.strategies import STRATEGIES, Form, Strategy

TokensCount: TypeAlias = Literal["processed", "total"]
Reduction: TypeAlias = Literal["tokens", "sequences"]
"""What a peer's loss is a mean over: its loss-bearing tokens, or its windows' own means."""

StrategyName: TypeAlias = Annotated[str, STRATEGIES]
"""A key of the table of strategies. What stands behind `Annotated` is what a settings file may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustConfig:
    strategy: StrategyName = "predictions"
    """What trust is made of: "predictions" (total variation on the reference set), "weights" (cosine of the
    updates), "validation" (their loss on this peer's trust split); "product" (several of these together);
    "learned" (the row itself, down the gradient of the loss on the trust split); "fomo" (gain of loss for distance
    gone: FedFomo, 2012.08565); "fixed" (the weights in `fixed`), "uniform" (plain averaging), "local" (alone).
    The first three after Wagner, Fan and Jaggi (2024), arXiv 2404.09753."""

    form: Form = "ours"
    """How the first three become rows: "ours", or, for comparison, "paper-text" as Wagner et al. (2024) print
    it and "paper-code" as their released code has it. Their forms know no temperatures and no age, and
    "predictions" in them needs [reference] positions = "last"."""

    temperatures: tuple[float, ...] = (4.0, 1.0, 0.25, 0.0625)
    """Temperatures to try, in units of the median distance, falling; 1 to 16 of them, each in 0.001 to 1,000
    and each costing one evaluation of a merge on the trust split. From nearly uniform to nearly nearest-only, two
    octaves apart: seven one octave apart did no better, and 1 or 1/4 alone did worse (sim/FINDINGS.md)."""

    product_of: tuple[Factor, ...] = ("predictions", "weights")
    """For "product": two or three of "predictions", "weights" and "validation", whose weights are multiplied, so
    that a neighbour must be near by each of them. The two that cost no pass through the model; together as
    good as each alone (sim/FINDINGS.md)."""

    fixed: tuple[str, ...] = ()
    """For "fixed": "PEER=WEIGHT" for each neighbour that gets something, by its id or its announced name, weights
    from 0 to 1 and together at most 1. What is left, and what belongs to absent peers, stays with this peer. A name
    is anyone's to take: namesakes share the weight. An id is not."""

    learned_steps: int = 12
    """For "learned": steps on the row in each round, 1 to 1,000, each one pass forward and one backward on the
    trust split, however many neighbours there are. Guess; good in sim/FINDINGS.md."""

    learned_rate: float = 0.5
    """For "learned": size of a step, above 0 to 100, in the logarithms of the weights. Guess; good in
    sim/FINDINGS.md."""

    age_decay: float = 0.5
    """A neighbour heard of `age` rounds ago counts `(1 + age) ** -age_decay`; 0 to 4, 0 for no decay. Only for
    "predictions", "weights", "validation" and "product" in our form. Form and value of asynchronous federated
    optimisation, arXiv 1903.03934."""

    max_age: int = 4
    """Rounds after which a neighbour's last word counts no more, whatever the strategy, 0 to 1,000. Guess."""

    tokens_power: float = 0.0
    """How much the amount of text counts: weights are multiplied by each peer's share of the text to this power,
    one's own included; 0 to 8, 0 for not at all. With "uniform" and 1 it is token-weighted averaging. Not for
    "fixed" and "local". Off, because counts are the neighbours' own claims."""

    tokens_alpha: float | Literal["auto"] = "auto"
    """What a share of the text is: this part of it by tokens that bear loss, the rest by samples; 0 to 1, 0 as in
    federated averaging (1602.05629). "auto" makes the weighted mean of losses the loss on all text together:
    1 where the training loss is a mean over tokens, 0 where it is one over sequences."""

    tokens_count: TokensCount = "processed"
    """Which text counts: "processed", what a peer trained on since it last published, or "total", all that it has."""

    tokens_cap: float = 2.0
    """The most that a share of the text counts, in units of the median over whoever is here (of an even number
    the lower one), this peer included; 1 to 1,000. Nobody buys more by claiming tokens. Guess."""

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
    """The entry of the table of strategies."""
    return STRATEGIES[config.strategy]


def evidence_of(config: TrustConfig) -> tuple[Evidence, ...]:
    """What a learner must measure of each neighbour, in the order in which rows expect it; may be nothing."""
    strategy = strategy_of(config)
    if config.form != "ours":
        return (strategy.published[config.form].evidence,)
    return strategy.evidence(config)


def alpha_of(config: TrustConfig, reduction: Reduction) -> float:
    """`tokens_alpha` as a number. With "auto" it follows from what the training loss is a mean over, so that
    peers' mean losses, weighted by their shares, are the mean loss on all their text together."""
    if config.tokens_alpha != "auto":
        return config.tokens_alpha
    return 1.0 if reduction == "tokens" else 0.0
