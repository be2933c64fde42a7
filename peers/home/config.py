"""`peer.toml`: a dataclass for each table, checked against each other, and converted for the learner and the core.

    [peer] [network] [round] [trust] [defence] [settle] [merge] [layers] [heads] [model] [adapter] [data] [training]
    [reference] [device]

Tables marked "same for all peers" in their comments make up the network's fingerprint: peers that differ in
them say so plainly and do not mix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from gossipllm.config import (
    AdapterConfig,
    DataConfig,
    HeadsConfig,
    LayersConfig,
    LearnerConfig,
    ModelConfig,
    ReferenceConfig,
    TrainingConfig,
)
from gossipllm.config.choices import MIXINGS, Also, MergeRule, Mixing, Outer
from gossipllm.config.toml import from_mapping, toml_values
from gossipllm.device.config import DeviceConfig
from peers.core.config import CoreConfig, DefenceConfig, RoundConfig, check_schedules
from peers.core.plateau import SettleConfig
from peers.home.automatic import (
    CHOICE_FILE,
    Automatic,
    automatic_in,
    kind_of,
    read_choice,
    without_automatic,
)
from peers.net.addresses import parse_multiaddress
from peers.net.config import RETIRED_NETWORK_KEYS, NetworkConfig
from trust.errors import UserMistake
from trust.rows.evidence_kinds import EVIDENCE
from trust.rows.rows import TrustConfig, alpha_of, evidence_of

_OF_ROWS: Final = ("round.guard", "merge.rule", "merge.clip")
"""What steers rows and merges, outside [trust]."""
_OF_MASS: Final = ("trust.tokens_alpha", "trust.max_age", "defence.commit")
"""What of [trust] and [defence] counts also where there is no row."""
RETIRED: Final[dict[str, str]] = {f"network.{key}": why for key, why in RETIRED_NETWORK_KEYS.items()}
"""Dotted keys of earlier versions -> what holds now. Homes that still have them open as before."""

_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,32}")


def _ignored(notice: str) -> None:
    del notice


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfConfig:
    name: str = "peer"
    """What others see in their tables beside this peer's id, 1 to 32 characters. Not secret, not unique."""

    network: str = "gossipllm"
    """Sets apart networks of one base model, 1 to 32 characters. Same for all peers. Not secret."""

    keep_neighbours: bool = True
    """Whether the inputs of the last merge stay in state/company until the next one, for `gossipllm eval` and
    `gossipllm trust explain` to measure: written once a round, at most round.most_partners times the size of an update.
    With "push-sum" nothing is written, because no adapters are exchanged."""

    history_mb: int = 256
    """Most MB of history.msgpack and its older segments, at least 1, or 0 for no bound. The oldest segment is removed
    when there are more. A round takes about 0.7 kB, and as much again for every few neighbours. Guess: years."""

    def __post_init__(self) -> None:
        if self.history_mb < 0:
            raise ValueError(f"history_mb must be 0 or more, got {self.history_mb}")
        for what in ("name", "network"):
            value: str = getattr(self, what)
            if not _NAME.fullmatch(value):
                raise ValueError(f"{what} must be 1 to 32 printable characters, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConfig:
    rule: MergeRule = "svd"
    """How adapters are merged: "svd", the best adapter of this rank for the weighted sum of the products B A
    (FlexLoRA, 2402.11505), "mean", the weighted mean of A and of B (FedAvg), which needs equal ranks, or "pad", that
    mean after smaller ranks are filled up with zeros and larger ones cut (HetLoRA, 2401.06432). For research, robust
    rules, which count a weight of the row as that many copies of an adapter: "krum" (1703.02757), the adapter nearest
    to most others; "geometric-median" (1912.13445); "centred-clip" (2202.01545), differences from this peer clipped to
    their median; "fltrust" (2012.13995), weights times the cosine with this peer's update, all at its size; and, for
    equal ranks and one start of A, "median" and "trimmed" (1803.01498), which take each number by itself. Krum and
    the medians drop peers whose text is rare."""

    clip: float = 4.0
    """How far a neighbour can move a merge, in times the size of this peer's own adapter, unit by unit; up to 1,000, or
    0 for no bound. What a neighbour weighs beyond goes to this peer itself."""

    mixing: Mixing = "parameters"
    """What a row weighs: "parameters", the adapters, or "updates", the change of each adapter by its last local steps,
    added to this peer's adapter before its own steps. Wagner et al. (2024) run the first and print the second; with
    rows that differ from peer to peer, the second lets adapters drift apart. Or "push-sum" (1811.10792): no trust row,
    but the exact mean over the whole network weighted by tokens (trust.tokens_alpha), for peers that trust each other.
    "beside" and "routed" leave this peer's adapter as it was trained and mix neighbours into a second one beside it,
    which local steps do not change: with a gate for each block of the model (as FedALT, 2503.11880), or with a row for
    each block too (as CoMiGS, 2409.13931, routes tokens). The export has twice the rank. Same for all peers."""

    outer: Outer = "none"
    """What the move of a merge becomes before it is taken: "none", itself; "nesterov" (DiLoCo, 2311.08105) or "noloco"
    (2506.10911), momentum over the moves of the last merges. Peers may differ in it."""

    outer_momentum: float = 0.5
    """How much of the last moves is kept, 0 to below 1. NoLoCo; DiLoCo has 0.9, with far more steps in a round."""

    outer_rate: float = 0.7
    """How much of a move is taken, above 0 to 2. DiLoCo and NoLoCo."""

    also: Also = ""
    """What follows a merge: nothing, or "distil": steps toward the predictions that the members of its row published,
    on the rows of the reference set where they give the true next token a higher probability than this peer does. They
    are undone unless they lower the trust loss. Predictions are then fetched whatever the strategy compares. Needs the
    guard with defence.confirm and defence.bind_rows. With "distil-text" half of the aim is that text, and all
    of it where no neighbour predicts better. Controls: "self-distil" steps toward this peer's own predictions of before
    the merge, "reference-text" toward the text of the reference set alone. Peers may differ in it."""

    distil_share: float = 0.25
    """Most of the cost of a round's local steps that distilling takes, with its measurements, counted in tokens through
    the model, 0.01 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerConfig:
    """All of `peer.toml`."""

    peer: SelfConfig = field(default_factory=SelfConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    round: RoundConfig = field(default_factory=RoundConfig)
    trust: TrustConfig = field(default_factory=TrustConfig)
    defence: DefenceConfig = field(default_factory=DefenceConfig)
    settle: SettleConfig = field(default_factory=SettleConfig)
    merge: MergeConfig = field(default_factory=MergeConfig)
    layers: LayersConfig = field(default_factory=LayersConfig)
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    device: DeviceConfig = field(default_factory=DeviceConfig)

    def __post_init__(self) -> None:
        kinds, positions = evidence_of(self.trust), self.reference.positions
        for needed in (EVIDENCE[kind].positions for kind in kinds):
            if needed is not None and positions != needed:
                raise ValueError(
                    f'reference.positions must be "{needed}" for trust.strategy = "{self.trust.strategy}" '
                    f'with trust.form = "{self.trust.form}", got "{positions}"'
                )

        if not MIXINGS[self.merge.mixing].rows:
            self._check_pushing()
        if self.merge.also:
            self._check_distilling()
        fetches = self.layers.context == "distil" and self.layers.contexts == "fetch"
        if fetches and self.round.most_context_mb * 10**6 > self.network.max_blob_bytes:
            raise ValueError(
                f"round.most_context_mb must fit network.max_blob_bytes ({self.network.max_blob_bytes}), "
                f"got {self.round.most_context_mb}"
            )
        check_schedules(self.round, self.training)
        # `LearnerConfig` checks what must hold between the learner's tables.
        self.learner()

    def _check_pushing(self) -> None:
        """Refuse settings of rows, guards and merge rules: push-sum has no trust row, so they would do nothing."""
        tables = (
            ("trust", self.trust),
            ("defence", self.defence),
            ("settle", self.settle),
            ("round", self.round),
            ("merge", self.merge),
        )
        for table, config in tables:
            for field_ in fields(config):
                key = f"{table}.{field_.name}"
                idle = key in _OF_ROWS or (table in ("trust", "defence", "settle") and key not in _OF_MASS)
                if idle and getattr(config, field_.name) != field_.default:
                    raise ValueError(
                        f'{key} does nothing with merge.mixing = "push-sum", which makes no trust row: leave it out, '
                        "or set another merge.mixing"
                    )

    def _check_distilling(self) -> None:
        """Refuse to distil where predictions of neighbours are not held against their updates, or nothing is undone."""
        for key, given in (
            ("round.guard = true", self.round.guard),
            ("defence.confirm = true", self.defence.confirm),
            ("defence.bind_rows above 0", self.defence.bind_rows > 0),
        ):
            if not given:
                raise ValueError(
                    f'merge.also = "{self.merge.also}" takes predictions only of neighbours that proved themselves '
                    f'and needs {key}: set that, or merge.also = ""'
                )

    def learner(self) -> LearnerConfig:
        return LearnerConfig(
            model=self.model,
            adapter=self.adapter,
            data=self.data,
            training=self.training,
            reference=self.reference,
            evidence=evidence_of(self.trust),
            layers=self.layers,
            heads=self.heads,
            merge=self.merge.rule,
            clip=self.merge.clip,
            mixing=self.merge.mixing,
            outer=self.merge.outer,
            outer_momentum=self.merge.outer_momentum,
            outer_rate=self.merge.outer_rate,
            also=self.merge.also,
            distil_share=self.merge.distil_share,
            packing=self.network.packing_of_updates,
            tokens_alpha=alpha_of(self.trust, self.training.reduction),
            judging=self.round.guard and self.defence.fresh,
        )

    def core(self) -> CoreConfig:
        return CoreConfig(
            name=self.peer.name,
            network=self.peer.network,
            joined=frozenset(parse_multiaddress(address).peer for address in self.network.join),
            round=self.round,
            trust=self.trust,
            defence=self.defence,
            settle=self.settle,
            learner=self.learner(),
            keep_neighbours=self.peer.keep_neighbours,
        )


def load_config(
    path: Path, *, noticed: Callable[[str], object] = _ignored, changes: Iterable[tuple[str, object]] = ()
) -> PeerConfig:
    """Read `peer.toml`. `noticed` is told of settings in it that no longer exist, one line each. `changes` are dotted
    keys with values that replace those of the file. Settings that say "auto" have what this device chose.

    Raises `UserMistake` that names the key, the value and what is allowed.
    """
    return load_automatic(path, noticed=noticed, changes=changes)[0]


def load_automatic(
    path: Path, *, noticed: Callable[[str], object] = _ignored, changes: Iterable[tuple[str, object]] = ()
) -> tuple[PeerConfig, Automatic]:
    """As `load_config`, with what says "auto"."""
    values = toml_values(path)
    for key, why in RETIRED.items():
        table_name, _, name = key.partition(".")
        table: object = values.get(table_name)
        if isinstance(table, dict) and name in table:
            del table[name]
            noticed(f"{path}: {key} is no longer a setting and is ignored: {why}")
    values, where = changed(values, changes), str(path)
    config, automatic = config_of(values, where), automatic_in(values)
    if not automatic.keys:
        return config, automatic
    automatic = replace(automatic, kind=kind_of(config, automatic.keys))
    kept = read_choice(path.parent / CHOICE_FILE)
    if kept is None or kept.kind != automatic.kind:
        return config, automatic
    known = replace(automatic, chosen=kept.chosen)
    tables = changed(without_automatic(values, automatic.keys), known.settings.items())
    try:
        return from_mapping(PeerConfig, tables, where), known
    except UserMistake:
        # The choice was changed by hand, or does not fit what was set since.
        return config, automatic


def config_of(
    values: dict[str, Any], where: str, *, changes: Iterable[tuple[str, object]] = ()
) -> PeerConfig:
    """The configuration in these tables, after `changes` as in `load_config`; settings that say "auto" have their
    defaults. `where` begins every error message."""
    values = changed(values, changes)
    return from_mapping(PeerConfig, without_automatic(values, automatic_in(values).keys), where)


def changed(values: dict[str, Any], changes: Iterable[tuple[str, object]]) -> dict[str, Any]:
    """The tables after `changes`, which are made in place. Raises `UserMistake` for a key that is none."""
    for key, value in changes:
        table_name, dot, name = key.partition(".")
        table = values.setdefault(table_name, {})
        if not dot or not isinstance(table, dict):
            raise UserMistake(
                f"{key} is no setting: it must be TABLE.NAME, as in round.steps; see: gossipllm config"
            )
        table[name] = value
    return values
