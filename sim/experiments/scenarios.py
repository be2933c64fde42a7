"""A scenario: all settings of a simulation, as frozen dataclasses that a TOML file fills.

A scenario says how many peers there are, what text they hold, and how their devices and network behave. `methods`
lists what is compared on it; what a method changes stands in `methods.py`, which settings it reads in `reading.py`. A
seed of `seeds` decides everything that is left to chance: the split of the text, the order of batches, the initial
adapter, delays and losses.

The tables [layers] and [heads], and how text counts in [trust], are for the methods that name them (`methods.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from gossipllm.config import (
    AdapterConfig,
    HeadsConfig,
    LayersConfig,
    LearnerConfig,
    ModelConfig,
    ReferenceConfig,
    TrainingConfig,
)
from gossipllm.config.choices import MERGE_RULES, MIXINGS, TRAINS, MergeRule
from gossipllm.config.text import Coding
from gossipllm.text.dealing.partitions import PartitionConfig
from peers.core.config import DefenceConfig, RoundConfig, check_schedules
from peers.core.plateau import NEVER_SETTLES, SettleConfig
from sim.adversaries.config import NONE, AttackConfig
from sim.adversaries.table import ADVERSARIES
from sim.experiments.method_settings import adapter_of, defended, heads_of, layers_of, round_of
from sim.experiments.methods import Method, method_named, suggestion
from sim.experiments.texts import are_samples
from sim.world.churn_phrases import joining, must_be_known, outage, split
from sim.world.conditions import Conditions
from sim.world.devices import DevicesConfig
from trust.rows.config import TrustConfig
from wire.updates.packing import Packing

DEFAULT: Final = "languages"
"""The scenario of `gossipllm sim` alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """The text of the peers, and how it is split and measured."""

    sources: tuple[str, ...] = ("embedded:fr", "embedded:de", "embedded:it")
    """One for each category of text: "embedded:fr" (or de, it, en, java), a .txt, a folder of .txt, or a
    .jsonl. The embedded texts come without their last tenth, which is the reference set's. Or samples, each with a
    window of its own, dealt whole: "lines:" before any of these for a sample of each line, or "e2e:PATH",
    "instructions:PATH", "copa:PATH", "translation:PATH" for questions whose answers alone bear loss."""

    window_tokens: int = 64
    """Tokens of one training sequence, 8 to 131,072; at most the model's context. Of samples the longest."""

    train_samples: int = 64
    """Samples that a peer trains on, where sources hold samples; their tokens then count for nothing in [partition].
    1 to 10,000,000. Guess."""

    trust_samples: int = 12
    """Samples of a peer that decide whom to trust, 2 to 4,096. Guess."""

    test_samples: int = 24
    """Samples of a peer that only measure, 2 to 4,096. Guess."""

    trust_windows: int = 12
    """At most this many windows of a peer's trust split are used at a time, 2 to 4,096. Guess."""

    weigh_windows: int = 8
    """Of these, windows on which each neighbour's own loss is measured, 2 to 4,096."""

    test_windows: int = 24
    """At most this many windows of a peer's test split are measured, 2 to 4,096. Guess."""

    partition: PartitionConfig = field(default_factory=PartitionConfig)
    """How the sources are dealt to the peers."""

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("sources must name at least one text, got none")
        if len(set(self.sources)) < len(self.sources):
            raise ValueError(f"sources must differ, got {', '.join(self.sources)}")
        if len({are_samples(source) for source in self.sources}) > 1:
            raise ValueError(f"sources must be all texts or all samples, got {', '.join(self.sources)}")
        if not 8 <= self.window_tokens <= 131_072:
            raise ValueError(f"window_tokens must be in 8..131072, got {self.window_tokens}")
        for name in ("trust_windows", "weigh_windows", "test_windows", "trust_samples", "test_samples"):
            count: int = getattr(self, name)
            if not 2 <= count <= 4096:
                raise ValueError(f"{name} must be in 2..4096, got {count}")
        if not 1 <= self.train_samples <= 10_000_000:
            raise ValueError(f"train_samples must be in 1..10000000, got {self.train_samples}")

    @property
    def of_samples(self) -> bool:
        """Whether the sources hold samples rather than running text."""
        return are_samples(self.sources[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All settings of a scenario's file."""

    name: str = DEFAULT
    """Names the folder of the results, 1 to 40 letters, digits and dashes."""

    peers: int = 9
    """How many peers, 2 to 10,000."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Each method runs once with each seed, and tables show means over them. Each 0 to 999,999."""

    methods: tuple[str, ...] = ("local", "fedavg", "theoretical", "s3")
    """Methods to compare, each a row of the table; `gossipllm sim --list` lists them."""

    merge: MergeRule = "svd"
    """How adapters are merged where the method leaves it open: "svd", the best adapter of this rank for the
    weighted sum of the products B A; "mean", the weighted mean of A and of B, for equal ranks; "pad", that mean
    after smaller ranks are filled up with zeros; or a robust rule, as `gossipllm sim --list` says of the change of its
    name."""

    clip: float = 4.0
    """How far a neighbour can move a merge, in times the size of a peer's own adapter, up to 1,000, or 0 for no
    bound; for methods with defences."""

    outer_momentum: float = 0.5
    """For methods +nesterov and +noloco: how much of the last merges' moves is kept, 0 to below 1
    (`LearnerConfig.outer_momentum`)."""

    outer_rate: float = 0.7
    """For methods +nesterov and +noloco: how much of a move is taken, above 0 to 2 (`LearnerConfig.outer_rate`)."""

    distil_share: float = 0.25
    """For methods +distil, +distiltext, +selfdistil and +reftext: most of the cost of a round's local steps that
    distilling takes, 0.01 to 1 (`LearnerConfig.distil_share`)."""

    packing: Packing = "whole"
    """How finely updates are rounded, so that they travel packed: "fine", "normal", "tight" or "sparse"; "whole" for
    not at all (`LearnerConfig.packing`)."""

    coding: Coding = "bfloat16"
    """How predictions on windows of bytes are sent: as "bfloat16", as in all comparisons published so far, or in
    "steps", as peers outside the simulator do (`ReferenceConfig.coding`)."""

    anneal: bool = True
    """Whether the learning rate falls over the whole run: training.decay_steps, where it is 0, becomes the
    number of local steps that a peer takes. Not where it falls with round.network_tokens."""

    limit_s: float = 604_800.0
    """Virtual seconds after which a run ends even if peers have rounds to do, 1 to 1e9."""

    patience: int = 0
    """A run ends after so many rounds in which no peer reached a lower loss on its trust split, up to 100,000; 0 does
    all rounds."""

    data: TextConfig = field(default_factory=TextConfig)
    round: RoundConfig = field(default_factory=lambda: RoundConfig(steps=6, rounds=6))
    trust: TrustConfig = field(default_factory=TrustConfig)
    """The grid of temperatures, how age and how text counts; strategy and form are the method's. `tokens_power` is for
    methods that weigh text only, and 1 where it is 0."""
    defence: DefenceConfig = field(default_factory=DefenceConfig)
    """Defences against neighbours that lie, for methods with a guard, but for those +rowguard."""
    settle: SettleConfig = NEVER_SETTLES
    """When peers stop training, alone or with a guard, but for methods +rowguard. A run ends when all have."""
    model: ModelConfig = field(default_factory=ModelConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    layers: LayersConfig = field(default_factory=LayersConfig)
    """Block windows, for methods +layers."""
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    """Ownership of attention heads, for methods +heads."""
    devices: DevicesConfig = field(default_factory=DevicesConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    conditions: Conditions = field(default_factory=Conditions)
    attack: AttackConfig = field(default_factory=AttackConfig)
    """Hostile peers beside the scenario's own."""

    def __post_init__(self) -> None:
        if not (1 <= len(self.name) <= 40 and self.name.replace("-", "").isalnum()):
            raise ValueError(f"name must be 1 to 40 letters, digits and dashes, got {self.name!r}")
        if not 2 <= self.peers <= 10_000:
            raise ValueError(f"peers must be in 2..10000, got {self.peers}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different numbers, at least one, got {self.seeds}")
        if not all(0 <= seed <= 999_999 for seed in self.seeds):
            raise ValueError(f"seeds must be in 0..999999, got {self.seeds}")
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ValueError(f"methods must be different names, at least one, got {', '.join(self.methods)}")
        for name in self.methods:
            self._check_method(name, method_named(name))
        if not 1 <= self.round.rounds <= 100_000:
            raise ValueError(f"round.rounds must be in 1..100000, got {self.round.rounds}")
        if not 0 <= self.patience <= 100_000:
            raise ValueError(f"patience must be in 0..100000, got {self.patience}")
        if not 1 <= self.limit_s <= 1e9:
            raise ValueError(f"limit_s must be in 1..1e9, got {self.limit_s}")
        if self.anneal and 0 < self.training.warmup_steps >= self.steps:
            raise ValueError(
                f"training.warmup_steps must be below the {self.steps} steps of the run, "
                f"got {self.training.warmup_steps}"
            )

        check_schedules(self.round, self.training)
        self._check_conditions()
        self._check_attack()

    def _check_attack(self) -> None:
        known = {NONE, *ADVERSARIES}
        if self.attack.present and len(set(self.devices.models)) > 1:
            raise ValueError(
                "attack.name: attackers are for peers of one base model, and devices.models differ"
            )
        if self.attack.name not in known:
            raise ValueError(
                f"attack.name: unknown attack {self.attack.name}, {suggestion(self.attack.name, known)}"
            )

    def _check_method(self, name: str, method: Method) -> None:
        """Raise `ValueError` with the key that a method lacks or that excludes it."""
        kinds = range(min(self.peers, self.devices.kinds))
        try:
            for index in kinds:
                self.learner(method, index)
            round_of(method, self.round, peers=self.peers)
            replace(self.training, batch_windows=self.training.batch_windows * method.batch)
        except ValueError as error:
            raise ValueError(f"method {name}: {error}") from None
        if method.layers and not (self.layers.partial or any(self.devices.blocks)):
            raise ValueError(
                f"method {name}: layers.count, layers.memory_mb or devices.blocks must say how many blocks"
            )
        defence = self.defence
        if method.also and not (self.round.guard and defence.confirm and defence.bind_rows):
            raise ValueError(
                f"method {name}: distilling needs round.guard, defence.confirm and defence.bind_rows above 0"
            )
        if method.heads and not self.heads.copies:
            raise ValueError(f"method {name}: heads.copies must be at least 1, got 0")
        train = adapter_of(method, self.adapter).train
        rule = method.merge or self.merge
        any_rank = MERGE_RULES[rule].unequal_ranks and MIXINGS[method.mixing].rows
        equal = not any_rank or train == "heads" or not TRAINS[train].sends_products
        if equal and method.merging and len(set(self.devices.ranks)) > 1:
            raise ValueError(
                f"method {name}: devices.ranks must be equal where A and B are averaged apart; +svd and +pad are for "
                f"unequal ones"
            )

    def _check_conditions(self) -> None:
        """Check the parts of [conditions] that name peers or depend on their number."""
        churn, topology = self.conditions.churn, self.conditions.topology
        named = [joining(one).peer for one in churn.late] + [outage(one).peer for one in churn.outages]
        named += [name for one in churn.cuts for group in split(one).groups for name in group]
        must_be_known(named, self.names)
        everybody = self.peers + self.attacking_cores
        if topology.kind == "random" and not (
            topology.degree < everybody and everybody * topology.degree % 2 == 0
        ):
            raise ValueError(
                f"conditions.topology.degree must be below the number of peers, {everybody}, and their product "
                f"even, got {topology.degree}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the peers."""
        return tuple(f"peer-{index}" for index in range(self.peers))

    @property
    def attackers(self) -> int:
        """How many attackers there are beside the peers."""
        return self.attack.count(self.peers)

    @property
    def attacking_cores(self) -> int:
        """How many of them have a core: none where they are mere identities."""
        attack = ADVERSARIES.get(self.attack.name)
        mere = attack is not None and attack.intruder is not None and not attack.intruder().cores
        return 0 if mere else self.attackers

    @property
    def steps(self) -> int:
        """Local steps of a whole run, of the peer that takes the fewest."""
        return min(self.steps_of(index) for index in range(min(self.peers, len(self.devices.steps) or 1)))

    def learner(self, method: Method, index: int) -> LearnerConfig:
        """Configuration of peer `index`'s learner under a method, without data, seeds and evidence.

        Raises `ValueError` where the scenario's settings exclude the method.
        """
        layers, heads = layers_of(method, self.layers), heads_of(method, self.heads)
        return LearnerConfig(
            model=self.devices.model(index, self.model),
            adapter=self.devices.adapter(index, adapter_of(method, self.adapter)),
            layers=self.devices.layers(index, layers) if method.layers else layers,
            heads=self.devices.heads(index, heads) if method.heads else heads,
            merge=method.merge or self.merge,
            clip=self.clip if defended(method, guard=self.round.guard) else 0.0,
            mixing=method.mixing,
            outer=method.outer,
            outer_momentum=self.outer_momentum,
            outer_rate=self.outer_rate,
            also=method.also,
            distil_share=self.distil_share,
            packing=self.packing if method.merging else "whole",
        )

    def label(self, index: int) -> str:
        """How peer `index` differs from others beside the category of its text; empty where all are alike."""
        if self.data.of_samples and self.data.partition.kind == "length":
            bands = ("short", "medium", "long") if self.peers > 2 else ("short", "long")
            return bands[index * len(bands) // self.peers]
        return self.devices.label(index)

    def steps_of(self, index: int) -> int:
        """Local steps of peer `index` in a whole run."""
        return self.round.rounds * self.devices.steps_of(index, self.round.steps)

    def annealed_of(self, index: int) -> TrainingConfig:
        """The training configuration of peer `index` with its length filled in."""
        if not self.anneal or self.training.decay_steps or self.round.network_tokens:
            return self.training
        return replace(self.training, decay_steps=self.steps_of(index))
