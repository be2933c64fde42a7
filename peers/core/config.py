"""Configuration of the core. Durations are in seconds of the driver's clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from gossipllm.config import LearnerConfig, TrainingConfig
from gossipllm.config.choices import TAUGHT
from gossipllm.device.plan.choice import Chosen, SettingsToChoose
from peers.core.events import PeerId
from peers.core.plateau import NEVER_SETTLES, SettleConfig
from trust.rows.config import strategy_of
from trust.rows.rows import TrustConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundConfig:
    steps: int = 20
    """Local optimiser steps of a round, 1 to 100,000. Guess; Wagner et al. (2024) take 25."""

    rounds: int = 0
    """Rounds after which this peer only serves what it has, 0 to 2^31 - 1; 0 goes on for ever."""

    patience_s: float = 20.0
    """Seconds to wait for neighbours after training at most, 0 to 86,400. Never longer than the local steps
    took (but up to 5 s), so that a fast peer is not held to the pace of a slow one. Guess."""

    quorum: int = 0
    """Neighbours with fresh updates that end the wait early; 0 means all who lately announced something."""

    most_partners: int = 16
    """Neighbours fetched from and merged with in a round, 1 to 256. Guess: four are enough if chosen well
    (EL, 2310.01972)."""

    explore: int = 4
    """Of these, places drawn by lot when there are more neighbours than places, 0 to most_partners."""

    guard: bool = True
    """Whether a merge must lower this peer's loss on its trust split. Without it, joining can do harm: plain
    averaging left peers worse off than alone (sim/FINDINGS.md)."""

    barrier: bool = False
    """Whether to wait for this round's update of every connected peer, up to patience_s however short one's own
    steps were: synchronous rounds, as Wagner et al. (2024) simulate them. Without it a slow peer holds up nobody."""

    warmup_rounds: int = 0
    """Rounds before the first merge, 0 to 2^31 - 1. They end alone, without waiting, fetching or comparing. Wagner
    et al. (2024) train 100 steps before the first merge: 3 rounds of 25, and the fourth ends with it."""

    compare_every_s: float = 30.0
    """Seconds between comparisons with a neighbour of what is known (anti-entropy), 1 to 3,600. Guess."""

    most_context_mb: int = 512
    """Largest compressed context fetched of a neighbour, in MB of 10^6 bytes, 1 to 2,000. Guess: an 8-bit context of
    half a billion parameters."""

    network_tokens: int = 0
    """Tokens that all peers together train on while the learning rate falls along a cosine to a tenth
    (`trust.rows.token_clock`), 0 to 2^62; 0 for no such schedule. All peers read one clock, their announced tokens, so
    that fast and slow devices share the schedule and late ones enter at its present place. In place of
    training.decay_steps, and best the same for all peers."""

    seconds: float = 0.0
    """Seconds that the local steps of a round should take, 0 to 86,400: as many steps as the pace of the round before
    allows, so that fast and slow devices with the same number here have rounds of one length, and neither waits for the
    other. The first round takes `steps`. 0 takes `steps` in every round. Best with round.network_tokens, because rounds
    no longer say how many steps are to come."""

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 100_000:
            raise ValueError(f"steps must be in 1..100000, got {self.steps}")
        if not 0 <= self.rounds < 2**31:
            raise ValueError(f"rounds must be in 0..2147483647, got {self.rounds}")
        if not 0 <= self.patience_s <= 86_400:
            raise ValueError(f"patience_s must be in 0..86400, got {self.patience_s}")
        if not 1 <= self.most_partners <= 256:
            raise ValueError(f"most_partners must be in 1..256, got {self.most_partners}")
        if not 0 <= self.quorum <= self.most_partners:
            raise ValueError(f"quorum must be in 0..most_partners, got {self.quorum}")
        if not 0 <= self.explore <= self.most_partners:
            raise ValueError(f"explore must be in 0..most_partners, got {self.explore}")
        if self.barrier and not self.patience_s > 0:
            raise ValueError(f"patience_s must be above 0 with a barrier, got {self.patience_s}")
        if not 0 <= self.warmup_rounds < 2**31:
            raise ValueError(f"warmup_rounds must be in 0..2147483647, got {self.warmup_rounds}")
        if not 0 <= self.network_tokens <= 2**62:
            raise ValueError(f"network_tokens must be in 0..2^62, got {self.network_tokens}")
        if not 0 <= self.seconds <= 86_400:
            raise ValueError(f"seconds must be in 0..86400, got {self.seconds}")
        if not 1 <= self.compare_every_s <= 3600:
            raise ValueError(f"compare_every_s must be in 1..3600, got {self.compare_every_s}")
        if not 1 <= self.most_context_mb <= 2000:
            raise ValueError(f"most_context_mb must be in 1..2000, got {self.most_context_mb}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenceConfig:
    """What holds against neighbours that lie. Where `round.guard` is off, only the checks of bytes remain."""

    confirm: bool = True
    """Whether each neighbour in a row is first tried by itself on this peer's trust split, and left out where it does
    not lower the loss. Without, the guard compares whole rows only, and one bad neighbour voids the row."""

    share: float = 0.1
    """Weight of the neighbour when it is tried by itself, above 0 to 1. Small, because a neighbour that helps in a row
    of many may harm at the weight of a row of two."""

    errors: float = 1.0
    """Standard errors by which a neighbour must lower the loss by itself to take part in the row, 0 to 10. With 2 a
    clean network gains a seventh less (sim/FINDINGS.md)."""

    fresh: bool = True
    """Whether half of the trust windows, drawn anew in each round, judge the merge that was proposed on the other half.
    Without, the windows that chose a row also say that it is good. With fewer than 16 windows they are not split."""

    row_errors: float = 0.0
    """Standard errors by which the merge must lower the loss on the windows that judge it, 0 to 10. With 1 a network of
    seven peers with 8 trust windows each gained a fifth less; merges within one error lowered the test loss, too."""

    doubt: float = 1.0
    """How much the errors of measured gains hold a merge back, 0 to 10: neighbours keep the part of their weights by
    which it is certain that merging gains something (`trust.rows.certainty`), where errors count `doubt` times. 0 takes
    whole what passes. With 1, peers whom nobody can help end nearer to training alone (sim/FINDINGS.md)."""

    bind_rows: int = 4
    """Rows of a neighbour's predictions that are computed again from its update, 0 to 64; 0 takes the predictions on
    trust. Needs `confirm`. Who falsifies a part f of the rows passes with probability (1 - f) to this power."""

    commit: bool = True
    """Whether predictions are shown only to neighbours that have announced a round of their own, so that nobody answers
    with what it has just read. Without, they travel in the announcement where they fit."""

    newcomers: float = 0.5
    """Largest joint weight of the neighbours that have earned no seat yet, 0 to 1. Needs `confirm`. Guess: clean runs
    are as good with it as without."""

    own_share: float = 0.1
    """Least weight of this peer itself in a merge, 0 to 1. Guess: what it has beside nine equal neighbours."""

    credit: float = 2.0
    """How much the standing that a neighbour earned in earlier rounds counts in its weight, 0 to 4: the power of its
    part of the typical standing. Gains then count up to the median gain. 0 weighs by this round's gains alone. Needs
    `confirm`. With 2, attackers that lower the loss in some rounds only had half the weight (sim/FINDINGS.md)."""

    fruitless: int = 3
    """Rounds in a row whose neighbours were tried and that brought no whole merge, after which this peer stops asking
    for a while (`peers.core.asking`); 0 to 100, 0 never stops. Needs `confirm`. Guess: relatives may be refused in the
    first rounds, in which all have learned little."""

    patience: int = 2
    """Rounds in a row that this peer may be worse off than training alone would have left it, before it goes back to
    its last good state; 0 to 100, 0 never goes back."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 to 1, got {self.share}")
        if not 0 <= self.errors <= 10:
            raise ValueError(f"errors must be in 0..10, got {self.errors}")
        if not 0 <= self.row_errors <= 10:
            raise ValueError(f"row_errors must be in 0..10, got {self.row_errors}")
        if not 0 <= self.doubt <= 10:
            raise ValueError(f"doubt must be in 0..10, got {self.doubt}")
        if not 0 <= self.bind_rows <= 64:
            raise ValueError(f"bind_rows must be in 0..64, got {self.bind_rows}")
        if not 0 <= self.credit <= 4:
            raise ValueError(f"credit must be in 0..4, got {self.credit}")
        for name in ("newcomers", "own_share"):
            value: float = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in 0..1, got {value}")
        for name in ("fruitless", "patience"):
            rounds: int = getattr(self, name)
            if not 0 <= rounds <= 100:
                raise ValueError(f"{name} must be in 0..100, got {rounds}")


NO_DEFENCE: Final = DefenceConfig(
    confirm=False,
    errors=0.0,
    fresh=False,
    row_errors=0.0,
    doubt=0.0,
    bind_rows=0,
    commit=False,
    newcomers=1.0,
    own_share=0.0,
    credit=0.0,
    fruitless=0,
    patience=0,
)
"""The guard alone, as the published experiments were run with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreConfig:
    half_life_s: float = 600.0
    """Seconds in which a score halves, above 0. Lighthouse."""

    disconnect_at: float = -20.0
    """Score at which the connection goes, between `ban_at` and 0. Lighthouse."""

    ban_at: float = -50.0
    """Score at which a peer is banned, in [-100, disconnect_at]. Lighthouse."""

    ban_s: float = 43_200.0
    """Seconds that a ban lasts, above 0. Lighthouse: twelve hours."""

    def __post_init__(self) -> None:
        if not self.half_life_s > 0 or not self.ban_s > 0:
            raise ValueError("half_life_s and ban_s must be above 0")
        if not -100 <= self.ban_at <= self.disconnect_at < 0:
            raise ValueError(
                f"need -100 <= ban_at <= disconnect_at < 0, got {self.ban_at} and {self.disconnect_at}"
            )


def check_schedules(round_: RoundConfig, training: TrainingConfig) -> None:
    """Raises `ValueError` for two schedules of the learning rate."""
    if round_.network_tokens and training.decay_steps:
        raise ValueError(
            "round.network_tokens and training.decay_steps are both a schedule of the learning rate: set one to 0"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfig:
    """`name` is for people; `network` sets apart networks of one base model; `joined` are the peers whose
    addresses the user gave, with whom this peer must be able to talk. Of neighbours, the learner measures what
    `trust` needs, whatever `learner.evidence` says. `keep_neighbours` says whether what was merged
    last is kept until the next merge (`Keep`)."""

    name: str
    network: str = "gossipllm"
    joined: frozenset[PeerId] = frozenset()
    round: RoundConfig = field(default_factory=RoundConfig)
    trust: TrustConfig = field(default_factory=TrustConfig)
    scores: ScoreConfig = field(default_factory=ScoreConfig)
    defence: DefenceConfig = field(default_factory=DefenceConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    settle: SettleConfig = NEVER_SETTLES
    keep_neighbours: bool = False
    choosing: SettingsToChoose | None = None
    """What this device shall choose by a measurement when its learner opens first; None where all is given."""
    merges: bool = True
    """Whether rows are applied. Without, a row is computed, measured and recorded in every round, and the adapter stays
    as the local steps left it: what trust looks like while every peer trains alone."""

    def __post_init__(self) -> None:
        check_schedules(self.round, self.learner.training)

    def with_chosen(self, chosen: Chosen) -> CoreConfig:
        """The configuration with what was chosen, which is not chosen again."""
        learner = replace(self.learner, training=chosen.training(self.learner.training))
        round_ = replace(self.round, steps=chosen.steps(self.round.steps))
        return replace(self, learner=learner, round=round_, choosing=None)

    @property
    def doubt(self) -> float:
        """How much the error of a measured gain holds a merge back; 0 without a guard."""
        return self.defence.doubt if self.round.guard else 0.0

    @property
    def confirms(self) -> bool:
        """Whether neighbours prove themselves, one by one, by gains that this peer measures."""
        return self.round.guard and self.defence.confirm

    @property
    def distils(self) -> bool:
        """Whether this peer learns from the predictions of its row's members. Only from those that were held against
        their updates, so that what is forged teaches nothing."""
        return self.learner.also in TAUGHT and self.confirms and self.defence.bind_rows > 0

    @property
    def settles(self) -> bool:
        """Whether this peer stops training when it gains no more. Mass that was handed out (push-sum) cannot be taken
        back, so a peer that pushes shares has no best state to go back to."""
        return self.settle.patience > 0 and self.round.guard and self.learner.rows

    @property
    def judging(self) -> bool:
        """Whether other trust windows judge a merge than those that propose it."""
        return self.round.guard and self.defence.fresh

    @property
    def commits(self) -> bool:
        """Whether predictions are committed to before they are shown (`peers.core.others.blobs.showing`)."""
        return self.defence.commit and self.round.guard and strategy_of(self.trust).merges
