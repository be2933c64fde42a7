"""A home after one real round: a peer of the embedded model that merged two neighbours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gossipllm.base import corpus_file
from gossipllm.config import AdapterConfig, DataConfig, ModelConfig, ReferenceConfig, TrainingConfig
from gossipllm.learning.learner_pool import answer
from gossipllm.work import Evaluate, Evaluated, Fit, Fitted, Open, Train, Trained, Weigh, Weighed
from peers.core.merge_inputs import MergeInput, MergeInputs
from peers.home.config import PeerConfig, SelfConfig
from peers.home.folder import Home
from peers.home.merge_inputs import write_merge_inputs
from peers.home.settings import write_config
from peers.identity import Identity
from trust.record.history import Begun, Entry, Round, Seen, Traffic
from trust.record.writer import HistoryWriter
from trust.rows.rows import TrustConfig

ROW = (0.5, 0.3, 0.2)
ROUND = 3
KINDS = ("predictions", "weights", "validation", "parameters", "row-cosines", "perplexity")


@dataclass(frozen=True)
class Told:
    """A home, and what its learner said while the round was made."""

    home: Path
    weighed: dict[str, Weighed]
    fitted: Fitted
    evaluated: Evaluated
    inputs: MergeInputs


def silent(_: object) -> None:
    """Nobody looks at the progress."""


def trained(config: Any) -> tuple[Any, Trained]:
    """A learner after the local steps of the round."""
    learner, opened = answer(None, Open(request=1, config=config, snapshot=None), silent)
    assert learner is not None, opened
    _, told = answer(learner, Train(request=2, round=ROUND, steps=2), silent)
    assert isinstance(told, Trained)
    return learner, told


def configuration(data: Path) -> PeerConfig:
    return PeerConfig(
        peer=SelfConfig(name="anna"),
        model=ModelConfig(device="cpu", dtype="float32", threads=1),
        adapter=AdapterConfig(rank=2),
        data=DataConfig(path=str(data), window_tokens=32, trust_windows=8, weigh_windows=4, test_windows=2),
        training=TrainingConfig(batch_windows=2, warmup_steps=0, learning_rate=1e-2),
        reference=ReferenceConfig(windows=3, window_tokens=8),
    )


def written(home: Path, config: PeerConfig, member_of: dict[str, Trained], **round_: Any) -> Told:
    """A home whose last merge was `ROW` over these."""
    place = Home(home)
    home.mkdir()
    Identity.generate().save(place.identity)
    write_config(place.config, config)
    place.state.mkdir()
    # All kinds at once, as the round itself measures only those of its strategy.
    learner, own = trained(replace(config.learner(), evidence=KINDS))
    names = tuple(member_of)
    weighed: dict[str, Weighed] = {}
    for name, theirs in member_of.items():
        _, reply = answer(
            learner, Weigh(request=3, author=name, update=theirs.update, evidence=theirs.evidence), silent
        )
        assert isinstance(reply, Weighed), reply
        weighed[name] = reply
    updates = tuple(one.update for one in member_of.values())
    rows = (ROW, (0.8, 0.0, 0.2), (0.5, 0.0, 0.5), (1.0, 0.0, 0.0))
    _, evaluated = answer(learner, Evaluate(request=4, rows=rows, updates=updates), silent)
    assert isinstance(evaluated, Evaluated)
    fit = Fit(request=5, row=(1 / 3,) * 3, updates=updates, steps=12, rate=0.5)
    _, fitted = answer(learner, fit, silent)
    assert isinstance(fitted, Fitted)
    inputs = MergeInputs(
        peer="anna-id",
        round=ROUND,
        snapshot=own.snapshot,
        self_weight=ROW[0],
        members=tuple(
            MergeInput(
                peer=name,
                name=name,
                its_round=ROUND,
                weight=weight,
                update=theirs.update,
                evidence=theirs.evidence,
            )
            for (name, theirs), weight in zip(member_of.items(), ROW[1:], strict=True)
        ),
    )
    write_merge_inputs(place.state, inputs)
    begun = Begun(
        peer="anna-id", name="anna", round=0, base="", tokenizer="", reference="", layout="", test_loss=7.0,
        strategy="predictions", merge="svd", program="1", trust=msgspec.json.encode(TrustConfig()).decode(),
    )  # fmt: skip
    seen = tuple(
        Seen(
            peer=name,
            name=name,
            its_round=ROUND,
            age=0,
            distance=weighed[name].distances[0],
            error=weighed[name].errors[0],
            weight=weight,
            tokens=1,
        )
        for name, weight in zip(names, ROW[1:], strict=True)
    )
    losses = evaluated.losses
    record = Round(
        peer="anna-id", round=ROUND, self_weight=ROW[0], seen=seen, train_loss=own.train_loss,
        trust_alone=losses[3], trust_merged=losses[0], test_alone=7.0, test_merged=7.0,
        temperature=4.0, tried=((4.0, losses[0]),), guard="taken", tokens=1, samples=1, steps=2,
        train_s=0.0, gather_s=0.0, merge_s=0.0, discarded=0.0,
    )  # fmt: skip
    record = msgspec.structs.replace(record, **round_)
    earlier = msgspec.structs.replace(record, round=ROUND - 2)
    # Of the round before the last nothing is known, so that a learned row begins as the uniform one.
    with HistoryWriter(place.history, peer="anna-id", now=0.0) as writer:
        for one in (begun, earlier, record):
            writer.append(Entry(at_s=0.0, traffic=Traffic(sent={}, received={}), record=one))
    return Told(home, weighed, fitted, evaluated, inputs)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """anna reads French, and merged another who does and one who reads German."""
    folder = tmp_path_factory.mktemp("run")
    texts: dict[str, Path] = {}
    for name, (language, lines) in {
        "anna": ("fr", slice(40)),
        "bert": ("fr", slice(40, 80)),
        "cleo": ("de", slice(40)),
    }.items():
        texts[name] = folder / f"{name}.txt"
        texts[name].write_text(
            "\n".join(corpus_file(language).read_text("utf-8").splitlines()[lines]), "utf-8"
        )
    members = {
        name: trained(configuration(text).learner())[1] for name, text in texts.items() if name != "anna"
    }
    return written(folder / "home", configuration(texts["anna"]), members)
