"""A core whose learner chooses settings: asked once, kept, and used from the first round on."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from gossipllm.device.plan.choice import AUTOMATIC, Chosen, SettingsToChoose
from gossipllm.work import Open, Opened, Train
from peers.core.core import Core
from peers.core.effects import Adopt
from peers.core.events import LearnerLost, Reopening, Started, Woke
from support.core_bench import Bench
from support.effects import every, notes, only

ASKED = SettingsToChoose(keys=AUTOMATIC, memory_bytes=1e9, neighbours=4, link_bytes_s=1e6)
CHOSEN = Chosen(
    settings={"training.batch_windows": 3, "training.learning_rate": 5e-3, "round.steps": 7}, why="a test"
)


def choosing_bench() -> tuple[Bench, Open, Opened]:
    bench = Bench()
    bench.core = Core(replace(bench.config, choosing=ASKED), bench.keys, None)
    asked = bench.tell(Started())
    reply = bench.answer_to(asked)
    assert isinstance(reply, Opened)
    return bench, only(asked, Open), reply


def test_what_the_learner_chose_is_kept_told_and_used() -> None:
    bench, opening, reply = choosing_bench()
    assert opening.choosing == ASKED

    effects = bench.tell(msgspec.structs.replace(reply, chosen=CHOSEN))

    assert only(effects, Adopt).chosen == CHOSEN
    assert only(effects, Train).steps == 7
    assert CHOSEN.line in notes(effects)


def test_a_learner_that_is_opened_again_has_what_was_chosen_and_chooses_no_more() -> None:
    bench, _, reply = choosing_bench()
    bench.tell(msgspec.structs.replace(reply, chosen=CHOSEN))

    bench.tell(LearnerLost(why="killed", crash=False))
    opening = only(bench.tell(Woke(timer=Reopening()), after=60), Open)

    assert opening.choosing is None
    assert opening.config.training.batch_windows == 3
    assert opening.config.training.learning_rate == 5e-3


def test_a_learner_that_died_before_it_chose_is_asked_again() -> None:
    bench, _, _ = choosing_bench()

    bench.tell(LearnerLost(why="killed", crash=False))
    opening = only(bench.tell(Woke(timer=Reopening()), after=60), Open)

    assert opening.choosing == ASKED


def test_a_learner_that_chose_nothing_leaves_the_configuration() -> None:
    bench, _, reply = choosing_bench()

    effects = bench.tell(reply)

    assert every(effects, Adopt) == []
    assert only(effects, Train).steps == bench.config.round.steps
