"""Settings that nothing reads are refused: rules for every key, one-line messages, and a proof that they are idle."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from gossipllm.config.toml import commented_toml, from_mapping
from sim.experiments.measuring.metrics import RunMetrics
from sim.experiments.reading import ALWAYS, RULES, changed_keys, has_answer, keys_of, unread
from sim.experiments.run import simulate
from sim.experiments.scenario_files import load_scenario, shipped
from sim.experiments.scenarios import DEFAULT, Scenario
from trust.errors import UserMistake
from trust.record.history import Round

KEYS = tuple(keys_of(Scenario()))
TABLES = {key.rpartition(".")[0] for key in KEYS}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_a_scenario_has_an_answer(key: str) -> None:
    assert has_answer(key)
    assert not (key in ALWAYS and key in RULES)


def test_no_answer_is_about_a_key_that_does_not_exist() -> None:
    assert set(KEYS) >= ALWAYS
    assert set(RULES) <= {*KEYS, *TABLES}


@pytest.mark.parametrize("name", shipped())
def test_every_setting_of_a_shipped_scenario_is_read(name: str) -> None:
    scenario = load_scenario(name)
    assert [key for key in changed_keys(scenario) if unread(scenario, key)] == []


IDLE_AND_READ: list[tuple[str, list[str], list[str]]] = [
    # A key with a value; settings with which it is idle; settings with which it is read.
    ("layers.sampling=uniform", [], ["layers.count=1", "methods=['s3+layers']"]),
    ("layers.count=1", [], ["methods=['s3+layers']"]),
    (
        "layers.count=1",
        ["devices.blocks=[1]", "methods=['s3+layers']"],
        ["devices.blocks=[1]", "layers.context='int8'", "methods=['s3+layers']"],
    ),
    (
        "layers.floor=0.2",
        ["layers.sampling=uniform", "layers.count=1", "methods=['s3+layers']"],
        ["layers.count=1", "methods=['s3+layers']"],
    ),
    (
        "layers.distil_steps=10",
        ["layers.count=1", "methods=['s3+layers']"],
        ["layers.count=1", "layers.context=distil", "methods=['s3+layers']"],
    ),
    ("layers.missing=renorm", [], ["devices.modules=['q_proj', '']", "methods=['s3']"]),
    (
        "layers.missing=renorm",
        ["heads.copies=2", "methods=['s3+heads+self']"],
        ["heads.copies=2", "methods=['s3+heads']"],
    ),
    ("round.barrier=true", ["methods=['s1+decay']"], ["methods=['s1+decay', 's1']"]),
    ("anneal=false", ["methods=['local+decay']"], ["methods=['local']"]),
    ("settle.decays=1", [], ["methods=['local+decay']"]),
    ("heads.epoch_rounds=2", [], ["heads.copies=2", "methods=['s3+heads']"]),
    ("devices.capacities=[1, 2]", [], ["heads.copies=2", "methods=['s3+heads']"]),
    ("devices.blocks=[1, 2]", [], ["methods=['s3+layers']"]),
    ("trust.learned_steps=5", [], ["methods=['learned']"]),
    ("trust.balance_reach=1.0", [], ["methods=['balance']"]),
    ("trust.balance_decay=0.1", [], ["methods=['balance']"]),
    ("trust.temperatures=[1.0]", ["methods=['s3-text', 'fedavg']"], []),
    ("trust.tokens_cap=3.0", [], ["methods=['tokens']"]),
    ("trust.tokens_alpha=0.5", [], ["methods=['pushsum']"]),
    ("data.weigh_windows=4", ["defence.confirm=false"], ["methods=['s2']"]),
    ("data.weigh_windows=5", ["methods=['s3+rowguard']"], ["methods=['s3']"]),
    ("data.train_samples=10", [], ["data.sources=['lines:embedded:java']"]),
    ("data.partition.train_tokens=4096", ["data.sources=['lines:embedded:java']"], []),
    ("data.partition.major=0.6", [], ["data.partition.kind=mixture"]),
    ("data.partition.alpha=1.0", ["data.partition.kind=mixture"], ["data.partition.kind=dirichlet"]),
    ("data.partition.released='codes-wiki-low'", [], ["data.partition.kind=released"]),
    ("data.partition.chunk_tokens=64", ["data.partition.kind=length"], []),
    ("reference.top=4", ["methods=['s1', 's3-code']"], []),
    ("reference.seed=other", ["methods=['s1']"], ["methods=['s3-code']"]),
    ("round.guard=false", ["methods=['fedavg', 'theoretical', 's1-text']"], []),
    ("defence.errors=2.0", ["methods=['s3+rowguard', 'fedavg']"], ["methods=['s3']"]),
    ("defence.bind_rows=2", ["defence.confirm=false"], []),
    ("round.patience_s=5.0", ["methods=['local']"], []),
    ("round.explore=1", [], ["round.most_partners=4"]),
    ("round.most_context_mb=5", [], ["layers.count=1", "layers.context=distil", "layers.contexts=fetch",
      "methods=['s3+layers']"]),
    ("outer_rate=0.5", ["methods=['s3', 's3+beside']"], ["methods=['s3', 's3+noloco']"]),
    ("training.retain_strength=0.5", ["training.retain=measure"], ["training.retain=predictions"]),
    ("reference.top=4", ["methods=['local']"], ["methods=['local']", "training.retain=measure"]),
    ("distil_share=0.5", ["methods=['s3']"], ["methods=['s1', 's1+distil']"]),
    ("devices.trust_public=[0.5]", ["methods=['local']"], []),
    ("devices.train_public=[0.5]", ["reference.window_bytes=0"], []),
    ("devices.public_like=['own']", [], ["devices.train_public=[0.5]"]),
    ("reference.top=4", ["methods=['s1']"], ["methods=['s1+selfdistil']"]),
    ("clip=2.0", ["methods=['s3+rowguard', 'fedavg']"], ["methods=['s3']"]),
    ("merge=mean", ["methods=['fedavg', 's3+pad']"], []),
    ("anneal=false", ["training.decay_steps=20"], []),
    ("adapter.rank=4", ["devices.ranks=[2]"], []),
    ("round.steps=4", ["devices.steps=[3, 12]"], []),
    ("adapter.alpha=8.0", ["adapter.train=bias", "methods=['s3']"], []),
    ("adapter.start=own", ["methods=['s1-code']"], []),
    ("adapter.train=heads", ["methods=['s3+frozen']"], []),
    ("training.clip_norm=2.0", ["training.optimiser=sgd"], []),
    ("conditions.topology.degree=6", [], ["conditions.topology.kind=random"]),
    ("conditions.churn.downtime_s=5.0", [], ["conditions.churn.crashes_per_hour=10.0"]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "idle", "read"), IDLE_AND_READ)
def test_a_setting_is_refused_in_one_line_exactly_where_nothing_reads_it(
    given: str, idle: list[str], read: list[str]
) -> None:
    with pytest.raises(UserMistake) as mistake:
        load_scenario(DEFAULT, [*idle, given])
    key = given.partition("=")[0]
    assert str(mistake.value).startswith(f"--set: {key} changes nothing in this run: ")
    assert "\n" not in str(mistake.value)
    load_scenario(DEFAULT, [*read, given])


@pytest.mark.parametrize("key", ["trust.strategy", "trust.form", "trust.product_of", "trust.fixed"])
def test_what_the_name_of_a_method_decides_is_no_setting(key: str) -> None:
    value = {
        "strategy": "learned",
        "form": "paper-code",
        "product_of": '["weights", "validation"]',
        "fixed": '["a=1"]',
    }
    with pytest.raises(UserMistake, match=r"the name of a method decides it"):
        load_scenario(DEFAULT, [f"{key}={value[key.rpartition('.')[2]]}"])


def test_a_setting_given_its_default_is_refused_too_where_it_is_idle() -> None:
    with pytest.raises(UserMistake, match=r"trust\.learned_steps changes nothing"):
        load_scenario(DEFAULT, ["trust.learned_steps=12"])


def test_a_file_is_refused_for_what_neither_its_methods_nor_those_that_run_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('methods = ["local", "s3"]\n[layers]\ncount = 1\n')
    with pytest.raises(UserMistake, match=r"mine\.toml: layers\.count changes nothing"):
        load_scenario(str(file))
    assert load_scenario(str(file), ['methods=["s3+layers"]']).layers.count == 1


def test_a_part_of_a_files_methods_can_be_run_alone() -> None:
    assert load_scenario("layers", ['methods=["local", "s3"]']).methods == ("local", "s3")


def test_the_settings_that_a_run_wrote_down_can_be_run_again(tmp_path: Path) -> None:
    file = tmp_path / "scenario.toml"
    scenario = load_scenario("heads")
    file.write_text(commented_toml(scenario))
    assert load_scenario(str(file)) == scenario


SMALL = """
peers = 3
[data]
sources = ["embedded:fr", "embedded:de"]
window_tokens = 16
trust_windows = 2
test_windows = 2
[data.partition]
chunk_tokens = 32
train_tokens = 128
trust_tokens = 64
test_tokens = 64
[round]
steps = 1
rounds = 2
[training]
batch_windows = 2
warmup_steps = 1
[reference]
windows = 5
window_tokens = 4
"""

OTHER_VALUES: dict[str, object] = {
    "attack.attackers": 2.0,
    # Values of choices and lists; numbers are counted up, and what must be told is told here too.
    "merge": "mean",
    "settle.schedule": "constant",
    "packing": "normal",
    "coding": "steps",
    "reference.coding": "bfloat16",
    "outer_momentum": 0.25,
    "outer_rate": 0.5,
    "distil_share": 0.5,
    "training.retain_strength": 0.5,
    "data.partition.major": 0.6,
    "data.partition.released": "codes-wiki-low",
    "trust.strategy": "validation",
    "trust.form": "paper-code",
    "trust.temperatures": [1.0],
    "trust.product_of": ["validation", "weights"],
    "trust.fixed": ["peer-1=0.5"],
    "trust.tokens_alpha": 0.25,
    "trust.tokens_count": "total",
    "defence.share": 0.5,
    "defence.newcomers": 0.25,
    "defence.own_share": 0.25,
    "layers.sampling": "round-robin",
    "layers.softmax": "plain",
    "layers.missing": "renorm",
    "layers.context": "int8",
    "layers.contexts": "fetch",
    "layers.memory_mb": 0,
    "layers.floor": 0.5,
    "layers.smoothing": 0.25,
    "layers.ratio": 0.25,
    "layers.distil_alpha": 0.25,
    "heads.mode": "subnet",
    "reference.positions": "last",
    "reference.source": "embedded",
    "reference.seed": "another",
    # Equal ones, because the label of a peer names what differs, whether a method reads it or not.
    "devices.models": ["embedded-small"],
    "devices.blocks": [1],
    "devices.capacities": [2],
    "devices.trust_public": [0.5],
    "devices.train_public": [0.5],
    "devices.public_like": ["own"],
}


def with_every_idle_key_changed(scenario: Scenario) -> tuple[Scenario, list[str]]:
    values = tomllib.loads(commented_toml(scenario))
    changed: list[str] = []
    for key in KEYS:
        if not unread(scenario, key):
            continue
        *path, name = key.split(".")
        table: dict[str, Any] = values
        for part in path:
            table = table[part]
        value = OTHER_VALUES.get(key, not table[name] if isinstance(table[name], bool) else None)
        table[name] = table[name] + 1 if value is None else value
        changed.append(key)
    return from_mapping(Scenario, values, "changed"), changed


def results(scenario: Scenario, method: str) -> tuple[RunMetrics, list[Round]]:
    """Metrics without the trace, because its events contain each peer's whole configuration, and the rounds."""
    outcome = simulate(scenario, method, 0)
    rounds = [entry.record for entry in outcome.entries if isinstance(entry.record, Round)]
    return msgspec.structs.replace(outcome.metrics, trace=""), rounds


@pytest.mark.parametrize("method", ["local", "fedavg", "s3"])
def test_all_settings_that_are_refused_together_change_no_number_of_a_run(
    method: str, tmp_path: Path
) -> None:
    file = tmp_path / "small.toml"
    file.write_text(SMALL)
    plain = load_scenario(str(file), [f'methods=["{method}"]'])
    changed, keys = with_every_idle_key_changed(plain)
    assert len(keys) > 30
    assert results(plain, method) == results(changed, method)
