"""Which settings of a scenario its runs read, and why not, for each key.

A setting that no run reads would change nothing while its author believes that it does, so it is refused. `RULES` is
the only place that says when a key counts, for a key by itself or for all other keys of a table. A key is read if one
method of the run passes all its rules. Keys that every run reads are in `ALWAYS`. A test asks for an answer for every
key, so that a new setting cannot be forgotten; another changes all refused keys of a run and expects equal events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gossipllm.config.choices import MIXINGS, TRAINS
from gossipllm.config.toml import described
from sim.experiments.method_settings import adapter_of
from sim.experiments.methods import Method, method_named
from sim.experiments.scenarios import Scenario
from trust.errors import UserMistake
from trust.rows.evidence_kinds import EVIDENCE
from trust.rows.strategies import STRATEGIES

Reads = Callable[[Scenario, Method], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """When a key is read, and what to say where it is not."""

    reads: Reads
    why: str


ALWAYS: Final = frozenset(
    {
        *("name", "peers", "seeds", "methods", "limit_s", "patience"),
        *("data.sources", "data.window_tokens", "data.trust_windows", "data.test_windows"),
        *("data.partition.kind",),
        *("round.rounds", "round.seconds", "round.compare_every_s", "round.network_tokens"),
        *("trust.max_age",),
        *("model.name", "model.device", "model.dtype", "model.threads", "model.held"),
        *("devices.models", "devices.steps", "devices.watts"),
        *(
            "training.batch_tokens",
            "training.micro_windows",
            "training.learning_rate",
            "training.warmup_steps",
        ),
        *("training.decay_steps", "training.schedule", "training.optimiser", "training.reduction"),
        *("training.retain", "training.order", "training.arithmetic"),
        *("conditions.link.latency_s", "conditions.link.jitter_s", "conditions.link.loss"),
        *("conditions.link.bandwidth_bytes_s", "conditions.link.disk_s"),
        *("conditions.compute.step_s", "conditions.compute.answer_s", "conditions.compute.speeds"),
        *("conditions.topology.kind", "conditions.topology.relay"),
        *("conditions.churn.late", "conditions.churn.outages", "conditions.churn.cuts"),
        *("conditions.churn.crashes_per_hour",),
        *("attack.name",),
    }
)
"""Keys that every run reads."""


def _never(_scenario: Scenario, _method: Method) -> bool:
    return False


def _merging(_: Scenario, method: Method) -> bool:
    return method.merging


def _has_row(_: Scenario, method: Method) -> bool:
    return method.merging and MIXINGS[method.mixing].rows


def _has_temperature(_: Scenario, method: Method) -> bool:
    tempered = STRATEGIES[method.strategy].tries_temperatures and method.form == "ours"
    return tempered and MIXINGS[method.mixing].rows


def _measures_losses(_: Scenario, method: Method) -> bool:
    return any(EVIDENCE[kind].compares_losses for kind in method.evidence)


def _measures_neighbours(scenario: Scenario, method: Method) -> bool:
    confirms = scenario.defence.confirm and _guarded(scenario, method) and method.defended
    return _measures_losses(scenario, method) or (confirms and _has_row(scenario, method))


def _has_rank(scenario: Scenario, method: Method) -> bool:
    return TRAINS[adapter_of(method, scenario.adapter).train].low_rank


def _takes_modules(scenario: Scenario, method: Method) -> bool:
    train = adapter_of(method, scenario.adapter).train
    return TRAINS[train].low_rank and train != "heads"


def _trains_parts(scenario: Scenario, method: Method) -> bool:
    unlike = len(set(scenario.devices.modules)) > 1
    return method.merging and (method.layers or method.heads or unlike)


def _prunes_or_merges(scenario: Scenario, method: Method) -> bool:
    return scenario.adapter.prune < 1 or _has_row(scenario, method)


def _guarded(scenario: Scenario, method: Method) -> bool:
    return _merging(scenario, method) and (scenario.round.guard if method.guard is None else method.guard)


def _defended(scenario: Scenario, method: Method) -> bool:
    return _guarded(scenario, method) and method.defended


_DEFENDED: Final = Rule(_defended, "no method has a guard with the defences of [defence]")
_SETTLES: Final = Rule(
    lambda s, m: s.round.guard and (not m.merging or (_defended(s, m) and MIXINGS[m.mixing].rows)),
    "no method trains alone or has a guard with the defences of [defence]",
)
_STOPS: Final = Rule(
    lambda s, m: s.settle.patience > 0 or m.decay, "settle.patience is 0, and no method is +decay"
)
_CONFIRMS: Final = Rule(lambda s, _: s.defence.confirm, "defence.confirm is off")
_LAYERS: Final = Rule(lambda _, method: method.layers, "only methods +layers train block windows")
_HEADS: Final = Rule(lambda _, method: method.heads, "only methods +heads share out heads")
_TEXT: Final = Rule(lambda s, _: not s.data.of_samples, "the sources hold samples, which are dealt by number")
_SAMPLES: Final = Rule(lambda s, _: s.data.of_samples, "the sources hold running text, not samples")
_MERGING: Final = Rule(_merging, "every peer trains alone")
_RANKED: Final = Rule(_has_rank, 'adapter.train = "full", "bias" or "all" has no LoRA factors')
_TEMPERED: Final = Rule(_has_temperature, "only s1, s2, s3 and their products use it")
_LEARNED: Final = Rule(lambda _, m: STRATEGIES[m.strategy].fitted, "no method learns a row")
_OUTER: Final = Rule(lambda _, m: m.outer != "none", "only methods +nesterov and +noloco have it")
_BALANCES: Final = Rule(lambda _, m: m.strategy == "balance", "only balance accepts by a radius")
_DISTILS: Final = Rule(lambda s, _: s.layers.context == "distil", 'layers.context is not "distil"')
_BY_IMPORTANCE: Final = Rule(
    lambda s, _: s.layers.sampling == "importance", 'layers.sampling is not "importance"'
)
_BLOCKS: Final = Rule(
    # With these three, a number of blocks is asked for even where [devices] overrides it.
    lambda s, _: (
        not s.devices.blocks or s.layers.context != "none" or s.layers.checkpoint or s.layers.probe_every > 0
    ),
    "devices.blocks says it",
)
_PREDICTIONS: Final = Rule(
    lambda s, method: method.predicts or bool(s.training.retain), "no method reads predictions"
)
_BY_BYTES: Final = Rule(
    lambda s, m: s.reference.window_bytes > 0 and m.reference.get("positions", "all") == "all",
    "windows are counted in tokens",
)
_TOKENS: Final = Rule(lambda _, method: method.tokens, "only methods +tokens (and tokens) weigh text")
_ADAMW: Final = Rule(lambda s, _: s.training.optimiser == "adamw", 'training.optimiser = "sgd" has none')
_NAMED: Final = Rule(_never, "the name of a method decides it; see gossipllm sim --list")

RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "merge": (
        Rule(_prunes_or_merges, "nothing is merged by a row"),
        Rule(lambda _, method: method.merge is None, "every method names its own merge"),
    ),
    "clip": (Rule(_has_row, "nothing is merged by a row"), _DEFENDED),
    "outer_momentum": (_OUTER,),
    "outer_rate": (_OUTER,),
    "distil_share": (
        Rule(lambda _, m: bool(m.also), "only methods +distil, +distiltext, +selfdistil and +reftext distil"),
    ),
    "packing": (
        Rule(_has_row, "nothing is merged by a row"),
        Rule(lambda _, m: not MIXINGS[m.mixing].sends_start, "updates that carry two adapters travel whole"),
    ),
    "coding": (_PREDICTIONS, _BY_BYTES),
    "anneal": (
        Rule(lambda s, _: not s.training.decay_steps, "training.decay_steps says it"),
        Rule(lambda s, _: not s.round.network_tokens, "round.network_tokens says it"),
        Rule(lambda _, m: not m.decay, "all methods are +decay, whose rate falls on plateaus"),
    ),
    # -- data --
    "data.train_samples": (_SAMPLES,),
    "data.trust_samples": (_SAMPLES,),
    "data.test_samples": (_SAMPLES,),
    "data.weigh_windows": (
        Rule(_measures_neighbours, "no method measures what neighbours' adapters do to the loss"),
    ),
    "data.partition.major": (
        Rule(
            lambda s, _: s.data.partition.kind in ("mixture", "released"),
            'data.partition.kind is neither "mixture" nor "released"',
        ),
    ),
    "data.partition.alpha": (
        Rule(lambda s, _: s.data.partition.kind == "dirichlet", 'data.partition.kind is not "dirichlet"'),
    ),
    "data.partition.released": (
        Rule(lambda s, _: s.data.partition.kind == "released", 'data.partition.kind is not "released"'),
    ),
    "data.partition.chunk_tokens": (
        _TEXT,
        Rule(lambda s, _: s.data.partition.kind != "length", 'data.partition.kind "length" deals documents'),
    ),
    "data.partition.train_tokens": (_TEXT,),
    "data.partition.trust_tokens": (_TEXT,),
    "data.partition.test_tokens": (_TEXT,),
    "training.retain_strength": (
        Rule(lambda s, _: s.training.retain not in ("", "measure"), "training.retain keeps nothing"),
    ),
    # -- round --
    "round.patience_s": (_MERGING,),
    "round.quorum": (_MERGING,),
    "round.most_partners": (_MERGING,),
    "round.explore": (
        _MERGING,
        Rule(lambda s, _: s.peers - 1 > s.round.most_partners, "round.most_partners has place for all peers"),
    ),
    "round.barrier": (
        _MERGING,
        Rule(lambda _, m: not m.decay, "methods +decay wait for nobody"),
    ),
    "round.warmup_rounds": (_MERGING,),
    "round.guard": (
        Rule(_has_row, "nothing is merged by a row"),
        Rule(lambda _, method: method.guard is None, "every method says whether it has a guard"),
    ),
    "round.most_context_mb": (
        _LAYERS,
        _DISTILS,
        Rule(lambda s, _: s.layers.contexts == "fetch", 'layers.contexts is not "fetch"'),
    ),
    # -- defence --
    "defence": (Rule(_has_row, "nothing is merged by a row"), _DEFENDED),
    "defence.commit": (_DEFENDED,),
    "defence.share": (_DEFENDED, _CONFIRMS),
    "defence.newcomers": (_DEFENDED, _CONFIRMS),
    "defence.credit": (_DEFENDED, _CONFIRMS),
    "defence.bind_rows": (_DEFENDED, _CONFIRMS),
    # -- settle --
    "settle.patience": (_SETTLES,),
    "settle.average": (_SETTLES, _STOPS),
    "settle.schedule": (_SETTLES, _STOPS, Rule(lambda _, m: not m.decay, "all methods are +decay")),
    "settle.decays": (
        _SETTLES,
        _STOPS,
        Rule(lambda s, m: s.settle.schedule == "decay" or m.decay, 'settle.schedule is not "decay"'),
    ),
    # -- trust --
    "trust.strategy": (_NAMED,),
    "trust.form": (_NAMED,),
    "trust.product_of": (_NAMED,),
    "trust.fixed": (_NAMED,),
    "trust.temperatures": (_TEMPERED,),
    "trust.age_decay": (_TEMPERED,),
    "trust.learned_steps": (_LEARNED,),
    "trust.learned_rate": (_LEARNED,),
    "trust.balance_reach": (_BALANCES,),
    "trust.balance_decay": (_BALANCES,),
    "trust.tokens_power": (_TOKENS,),
    "trust.tokens_count": (_TOKENS,),
    "trust.tokens_cap": (_TOKENS,),
    "trust.tokens_alpha": (
        Rule(
            lambda _, m: m.tokens or not MIXINGS[m.mixing].rows,
            "no method weighs text: neither +tokens nor pushsum",
        ),
    ),
    # -- adapter --
    "adapter.rank": (_RANKED, Rule(lambda s, _: not s.devices.ranks, "devices.ranks says it")),
    "adapter.most_rank": (_RANKED,),
    "adapter.prune": (_RANKED,),
    "adapter.modules": (
        Rule(_takes_modules, "adapter.train says which modules are trained"),
        Rule(lambda s, _: not s.devices.modules, "devices.modules says it"),
    ),
    "adapter.alpha": (_RANKED,),
    "adapter.scaling": (_RANKED,),
    "adapter.warm_start": (
        Rule(lambda s, m: adapter_of(m, s.adapter).train == "both", 'adapter.train is not "both"'),
    ),
    "adapter.dropout": (_RANKED,),
    "adapter.seed": (_RANKED,),
    "adapter.start": (_RANKED, Rule(lambda _, m: m.start is None, "every method says where A starts")),
    "adapter.train": (Rule(lambda _, m: m.train is None, "every method says what is trained"),),
    # -- parts of adapters --
    "layers": (_LAYERS,),
    "layers.count": (_LAYERS, _BLOCKS),
    "layers.memory_mb": (_LAYERS, _BLOCKS),
    "layers.softmax": (_LAYERS, _BY_IMPORTANCE),
    "layers.temperature": (_LAYERS, _BY_IMPORTANCE),
    "layers.floor": (_LAYERS, _BY_IMPORTANCE),
    "layers.ratio": (
        _LAYERS,
        Rule(
            lambda s, _: s.layers.context in ("drop", "distil"),
            'layers.context is neither "drop" nor "distil"',
        ),
    ),
    "layers.contexts": (_LAYERS, _DISTILS),
    "layers.distil_steps": (_LAYERS, _DISTILS),
    "layers.distil_alpha": (_LAYERS, _DISTILS),
    "layers.distil_anew": (
        _LAYERS,
        _DISTILS,
        Rule(lambda s, _: s.layers.contexts == "make", 'layers.contexts is not "make"'),
    ),
    "layers.missing": (
        Rule(_trains_parts, "all peers train the same parts"),
        Rule(lambda _, method: method.missing is None, "every method says whose weights count"),
    ),
    "heads": (_HEADS,),
    "heads.capacity": (_HEADS, Rule(lambda s, _: not s.devices.capacities, "devices.capacities says it")),
    "round.steps": (Rule(lambda s, _: not s.devices.steps, "devices.steps says it"),),
    "devices.ranks": (_RANKED,),
    "devices.modules": (Rule(_takes_modules, "adapter.train says which modules are trained"),),
    "devices.blocks": (_LAYERS,),
    "devices.capacities": (_HEADS,),
    "devices.trust_public": (_PREDICTIONS, _BY_BYTES),
    "devices.train_public": (_PREDICTIONS, _BY_BYTES),
    "devices.public_like": (
        _PREDICTIONS,
        _BY_BYTES,
        Rule(lambda s, _: any(s.devices.train_public), "devices.train_public asks for no public text"),
    ),
    # -- training and evidence --
    "training.weight_decay": (_ADAMW,),
    "training.clip_norm": (_ADAMW,),
    "training.batch_windows": (
        Rule(lambda s, _: not s.training.batch_tokens, "training.batch_tokens says it"),
    ),
    "training.seed": (Rule(_never, "seeds and the peers' places decide it"),),
    "reference": (_PREDICTIONS,),
    "reference.windows": (
        _PREDICTIONS,
        Rule(lambda _, m: "windows" not in m.reference, "the published form says how many windows"),
    ),
    "reference.top": (
        _PREDICTIONS,
        Rule(lambda _, m: "top" not in m.reference, "the published form says how many tokens"),
    ),
    "reference.positions": (_NAMED,),
    "reference.coding": (Rule(_never, "coding says it"),),
    # -- conditions --
    "conditions.topology.degree": (
        Rule(lambda s, _: s.conditions.topology.kind == "random", 'conditions.topology.kind is not "random"'),
    ),
    "conditions.churn.downtime_s": (
        Rule(lambda s, _: s.conditions.churn.crashes_per_hour > 0, "conditions.churn.crashes_per_hour is 0"),
    ),
    "attack.attackers": (Rule(lambda s, _: s.attack.present, 'attack.name is "none"'),),
}
"""Key or table -> when it is read. The entry of a key replaces that of its table."""


def has_answer(key: str) -> bool:
    """Whether this file says when the key is read."""
    return key in ALWAYS or _rules(key) is not None


def unread(scenario: Scenario, key: str) -> str:
    """Why no method of the scenario reads the key; empty where one does.

    Raises `KeyError` for a key that neither `ALWAYS` nor `RULES` knows.
    """
    if key in ALWAYS:
        return ""
    rules = _rules(key)
    if rules is None:
        raise KeyError(key)
    methods = [method_named(name) for name in scenario.methods]
    if any(all(rule.reads(scenario, method) for rule in rules) for method in methods):
        return ""
    # The rule that fails for all says why; where each fails for some, the last one.
    hopeless = (rule for rule in rules if not any(rule.reads(scenario, method) for method in methods))
    return next(hopeless, rules[-1]).why


def check_read(scenarios: Sequence[Scenario], keys: Iterable[str], where: str) -> None:
    """Raise `UserMistake` for the first of the keys that no run of any of the scenarios reads."""
    for key in keys:
        reasons = [unread(scenario, key) for scenario in scenarios]
        if all(reasons):
            raise UserMistake(f"{where}: {key} changes nothing in this run: {reasons[-1]}; leave it out")


def keys_of(scenario: Scenario) -> dict[str, str]:
    """Dotted key -> its value as TOML, of every setting."""
    return {
        ".".join(part for part in (table.name, setting.name) if part): setting.value
        for table in described(scenario)
        for setting in table.settings
    }


def changed_keys(scenario: Scenario) -> Sequence[str]:
    """Keys whose values are not the defaults."""
    defaults = keys_of(Scenario())
    return [key for key, value in keys_of(scenario).items() if value != defaults[key]]


def _rules(key: str) -> tuple[Rule, ...] | None:
    table = key.rpartition(".")[0]
    return RULES.get(key, RULES.get(table))
