"""The rows of `unequal_models.py`: each way's models, and their scores on text that nobody trains on."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import torch
from transformers.utils.logging import disable_progress_bar
from unequal_tasks import LARGE, Part, UnequalTask, example_source, prepared, source_of

from gossipllm.config import ModelConfig, TrainingConfig
from gossipllm.model.adapter.snapshots import Snapshot, decode_snapshot
from gossipllm.model.loading.models import Base, load_base
from gossipllm.projection.carrying import carried, texts_of
from gossipllm.projection.steps import chosen_steps, judging_windows, taken
from gossipllm.tasks.catalogue import TASKS, read_examples
from gossipllm.tasks.metrics import BertModel
from gossipllm.tasks.mounting import snapshot_on
from gossipllm.tasks.scoring import EvaluationConfig, EvaluationScores, on_examples, on_text
from gossipllm.text.dealing.partitions import PartitionConfig
from gossipllm.text.reading.corpus import read_documents
from gossipllm.vectors.arithmetic import Combination, Combined, combined
from gossipllm.vectors.vector import TaskVector, of_snapshot
from peers.core.config import RoundConfig
from sim.experiments.run import simulate
from sim.experiments.scenarios import Scenario, TextConfig
from sim.world.devices import DevicesConfig
from trust.progress import SilentStages

ENGLISH: Final = Part(kind="text", train=LARGE)
METHODS: Final = {"alone": "local", "distil": "s3+distil", "reftext": "s3+reftext", "public": "s3+alone"}
"""Row -> method of the simulator."""
TEST_BYTES: Final = 20_000
"""Bytes of a running text that test."""

Result = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is trained and measured. Guesses: minutes a row on one core."""

    rounds: int = 8
    steps: int = 12
    samples: int = 128
    tokens: int = 8_192
    window: int = 96
    examples: int = 100
    new_tokens: int = 48

    @classmethod
    def quick(cls) -> Size:
        return cls(rounds=4, steps=10, samples=96, examples=40, new_tokens=32)


def row(
    name: str,
    task: UnequalTask,
    data: Path | None,
    folder: Path,
    models: tuple[str, str],
    *,
    seed: int,
    size: Size,
) -> Result:
    """The scores of one row. Rows that train leave their models in `folder`, from which others are made."""
    disable_progress_bar()
    small, large = (load_base(ModelConfig(name=one, device="cpu", dtype="float32")) for one in models)
    files = [prepared(part, data, folder.parent) for part in task.small]
    english = prepared(ENGLISH, data, folder.parent)
    sources = [source_of(part, train) for part, (train, _) in zip(task.small, files, strict=True)]
    own = f"{'lines:' if task.samples else ''}{english[0]}"
    measured = partial(scored, task=task, files=files, size=size)
    if name == "bound":
        method, held = "local", len(sources) + 1
        config = scenario([*sources, own], [models[1]] * 2, size, seed, kind="iid", times=held)
        outcome = simulate(config, method, seed)
        bound = snapshots(outcome.snapshots)[0]
        with snapshot_on(large, bound):
            return measured({}, large) | {"own": bits(large, english[1]), "kb": None}
    if name in METHODS:
        method = METHODS[name]
        config = scenario([*sources, own], [*[models[0]] * len(sources), models[1]], size, seed, name=name)
        outcome = simulate(config, method, seed)
        sent = [sum(peer.sent.values()) / max(1, peer.rounds) / 1000 for peer in outcome.metrics.peers]
        for number, one in enumerate(outcome.snapshots):
            assert one is not None, "every peer has finished a round"
            (folder / f"{name}-{number}.snapshot").write_bytes(one.data)
        kb: float | None = 0.0 if name == "alone" else sum(sent) / len(sent)
        found = snapshots(outcome.snapshots)
    else:
        kb = None
        made_of = "distil" if name == "all" else "alone"
        count = len(sources) + 1
        found = [
            decode_snapshot((folder / f"{made_of}-{number}.snapshot").read_bytes()) for number in range(count)
        ]
    vectors = [of_snapshot(str(number), one) for number, one in enumerate(found[:-1])]
    smalls: Mapping[int, Snapshot | Combined] = dict(enumerate(found[:-1]))
    if name in ("sum", "all"):
        together = combined(vectors, [1 / len(vectors)] * len(vectors), Combination(), 0)
        smalls = dict.fromkeys(range(len(vectors)), together)
    told = ""
    step: Combined | None = None
    if name in ("projection", "all"):
        step, told = projected(vectors, found[-1], small, large, models, english[0])
    # Without a vector of its own base, the large peer has no row "sum".
    with added(large, step), snapshot_on(large, found[-1]):
        of_large = None if name == "sum" else large
        result = measured(smalls, of_large, small=small)
        result["own"] = None if of_large is None else bits(large, english[1])
    return result | {"kb": kb, "steps": told}


def scenario(
    sources: Sequence[str],
    models: Sequence[str],
    size: Size,
    seed: int,
    *,
    name: str = "",
    kind: Any = "exclusive",
    times: int = 1,
) -> Scenario:
    partition = PartitionConfig(
        kind=kind, train_tokens=size.tokens * times, trust_tokens=1_024 * times, test_tokens=1_024
    )
    return Scenario(
        name="unequal",
        peers=len(models),
        seeds=(seed,),
        methods=tuple(METHODS.values()) if kind == "exclusive" else ("local",),
        distil_share=1.0,
        data=TextConfig(
            sources=tuple(sources),
            window_tokens=size.window,
            train_samples=size.samples * times,
            trust_samples=12 * times,
            test_samples=4,
            trust_windows=12 * times,
            test_windows=4,
            partition=partition,
        ),
        devices=devices(models, name),
        round=RoundConfig(steps=size.steps, rounds=size.rounds, barrier=True, patience_s=3600.0),
        training=TrainingConfig(batch_windows=4, learning_rate=1e-2, warmup_steps=3),
    )


def devices(models: Sequence[str], name: str) -> DevicesConfig:
    """The devices of a row, of which the last one is large. It reads public text where the row has any."""
    if name in ("", "alone"):
        return DevicesConfig(models=tuple(models))
    none = (0.0,) * (len(models) - 1)
    return DevicesConfig(
        models=tuple(models),
        trust_public=(*none, 0.5),
        train_public=(*none, 0.25 if name == "public" else 0.0),
    )


def snapshots(contents: Sequence[Any]) -> list[Snapshot]:
    return [decode_snapshot(one.data) for one in contents if one is not None]


def projected(
    vectors: Sequence[TaskVector],
    own: Snapshot,
    small: Base,
    large: Base,
    models: tuple[str, str],
    english: Path,
) -> tuple[Combined | None, str]:
    """The step of the large model that the small ones' vectors make, and its lengths by kind of layer, chosen on the
    public text with the large peer's own adapter in place; none may cost what it trains on more than 1 %."""
    public = texts_of(None)
    made = carried(vectors, [1.0] * len(vectors), small, large, models, way="ridge", texts=public, eta=1.0)
    # A stretch of each text, so that all of its languages choose.
    text = "\n".join(one[:1_500] for one in public)
    with snapshot_on(large, own):
        own_WT = judging_windows(english.read_text(encoding="utf-8")[:TEST_BYTES], large)
        steps = chosen_steps(made.step, large, judging_windows(text, large), own_WT=own_WT)
    told = ", ".join(f"{kind} {eta:g}" for kind, eta in steps.etas.items())
    if not any(steps.etas.values()):
        return None, told
    return taken(made.step, steps.etas), told


@contextmanager
def added(base: Base, step: Combined | None) -> Generator[None]:
    """Within, the base's weights are moved by the products of a step."""
    kept: dict[str, torch.Tensor] = {}
    layers: dict[str, Any] = dict(cast("Any", base.model).named_modules())
    for module, one in step.products.items() if step else ():
        weight: torch.Tensor = layers[module].weight.data
        kept[module] = weight.clone()
        weight += torch.tensor(one.scale * one.b_OR @ one.a_RI, dtype=weight.dtype)
    try:
        yield
    finally:
        for module, before in kept.items():
            layers[module].weight.data.copy_(before)


def scored(
    smalls: Mapping[int, Snapshot | Combined],
    large: Base | None,
    *,
    small: Base | None = None,
    task: UnequalTask,
    files: Sequence[tuple[Path, Path]],
    size: Size,
) -> Result:
    """Means over the parts: of each small peer's model on its own, and of the large model on all."""
    signatures: dict[str, str] = {}

    def score(base: Base, number: int) -> Mapping[str, float]:
        found = on_part(base, task.small[number], files[number][1], size)
        signatures.update(found.signatures)
        return found.scores

    of_large = [] if large is None else [score(large, number) for number in range(len(files))]
    of_small: list[Mapping[str, float]] = []
    for number, one in smalls.items():
        assert small is not None, "small peers have a model"
        moved = snapshot_on(small, one) if isinstance(one, Snapshot) else added(small, one)
        with moved:
            of_small.append(score(small, number))
    means = {"small": _means(of_small), "large": _means(of_large)}
    return {
        **{whose: found.get(task.score) for whose, found in means.items()},
        "scores": means,
        "signatures": signatures,
        "steps": "",
    }


def _means(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each score over the parts; nothing of no part."""
    return {name: sum(one[name] for one in found) / len(found) for name in (found[0] if found else ())}


def on_part(base: Base, part: Part, test: Path, size: Size) -> EvaluationScores:
    if part.kind == "text":
        return _text_scores(base, test)
    examples = read_examples(example_source(part, test), base.tokenizer, key="--data")[: size.examples]
    about = TASKS[part.kind]
    measures = EvaluationConfig(
        metrics=tuple(one for one in about.metrics if one != "perplexity"),
        new_tokens=size.new_tokens,
        batch=16,
        one_line=about.one_line,
        bert=BertModel(),
    )
    return on_examples(base, examples, measures, SilentStages(), "")


def bits(base: Base, test: Path) -> float:
    return _text_scores(base, test).scores["bits_per_byte"]


def _text_scores(base: Base, test: Path) -> EvaluationScores:
    (document, *_) = read_documents(str(test), base.tokenizer, key="--data")
    kept = document.text.encode()[:TEST_BYTES].decode(errors="ignore")
    return on_text(base, [type(document)(kept)], window_tokens=128, stages=SilentStages(), name="")
