"""The sections of `trust explain` about trials of neighbours by themselves, and about training alone."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest
from rich.console import Console

from support.records import begun_of, entry_of, round_of, seen_of
from support.toy_networks import WriteRun
from trust.inspection.explain.answering import explained
from trust.inspection.explain.case import case_of
from trust.inspection.explain.document import Explanation, LeaveOneOut
from trust.inspection.explain.page import print_page
from trust.record.history import LeftOut, Seen
from trust.rows.rows import TrustConfig

Story = Callable[..., "Told"]


class Told:
    """The explanation of one weight and the text of its page, which fits 60 columns."""

    def __init__(self, answer: Explanation) -> None:
        out = io.StringIO()
        print_page(answer, Console(file=out, width=60, highlight=False))
        assert max(map(len, out.getvalue().splitlines())) <= 60
        self.answer = answer
        self.text = " ".join(out.getvalue().split())
        self.document = json.loads(msgspec.json.encode(answer))


@pytest.fixture
def tell(written: WriteRun) -> Story:
    """Function that plays one round of anna with these neighbours, and asks about `other`."""

    def play(other: str, seen: tuple[Seen, ...], begun: dict[str, Any] | None = None, **fields: Any) -> Told:
        start = msgspec.structs.replace(
            begun_of("id-a", name="anna"),
            trust=msgspec.json.encode(TrustConfig(strategy="uniform")).decode(),
            strategy="uniform",
            share=0.1,
            **(begun or {}),
        )
        round_ = round_of("id-a", 4, {})
        own = 1 - sum(one.weight for one in seen)
        record = msgspec.structs.replace(
            round_, **({"seen": seen, "self_weight": own, "temperature": None} | fields)
        )
        run = written([entry_of(start), entry_of(record)])
        case = case_of(run, "anna", other, None)
        return Told(explained(case, (), losses={}, without=LeaveOneOut(why="nothing was kept")))

    return play


def tried(name: str, *, weight: float = 0.0, **fields: Any) -> Seen:
    return msgspec.structs.replace(seen_of(f"id-{name[0]}", name=name, weight=weight), **fields)


def test_the_gain_of_a_neighbour_stands_with_its_error_and_meaning(tell: Story) -> None:
    bert = tried("bert", weight=0.5, gain=0.05, gain_error=0.004, mismatch=0.012, standing=0.75)

    told = tell("bert", (bert,))

    assert (
        "Mixed in by itself at a weight of 10.0 %, bert lowered anna's trust loss by 0.0500 ± 0.0040 nats per token: "
        "4.9 % less perplexity"
    ) in told.text
    assert "they differ by 0.012 (total variation" in told.text
    assert "a standing of 0.75 of 1 by gains in earlier rounds, which is a seat." in told.text
    assert told.document["trial"] == {
        "gain": 0.05, "error": 0.004, "share": 0.1, "left": None, "twin_of": None, "mismatch": 0.012,
        "standing": 0.75, "seat": True,
    }  # fmt: skip


def test_a_neighbour_without_a_seat_or_held_predictions_is_said_to_have_none(tell: Story) -> None:
    told = tell("bert", (tried("bert", weight=0.5, gain=0.05, standing=0.25),))

    assert "which is no seat yet (a seat takes 0.5)" in told.text
    assert "bert's predictions were not held against its update." in told.text
    assert told.document["trial"]["mismatch"] is None


@pytest.mark.parametrize("why", get_args(LeftOut))
def test_each_reason_to_leave_a_neighbour_out_has_its_sentence(tell: Story, why: LeftOut) -> None:
    said = {
        "own": "nearly those of anna itself, or of the untouched start",
        "twin": "it is nearly identical to cleo, which stands for both",
        "loud": "its update is far larger than that of anna",
        "unbound": "the predictions that it published are not those of its update",
        "harmful": "by itself it raised anna's trust loss",
        "useless": "did not lower anna's trust loss by more than the error",
        "paused": "anna trains alone for a while",
    }
    bert = tried("bert", left=why, twin_of="id-c" if why == "twin" else "", gain=-0.01)
    cleo = tried("cleo", weight=0.5, gain=0.02)

    told = tell("bert", (bert, cleo))

    assert said[why] in told.text
    assert told.answer.weight == 0
    assert told.document["trial"]["left"] == why
    assert told.answer.check.agrees


def test_harm_is_told_as_harm(tell: Story) -> None:
    told = tell(
        "bert", (tried("bert", left="harmful", gain=-0.1, gain_error=0.01),), guard="refused", tried=()
    )

    assert (
        "bert raised anna's trust loss by 0.1000 ± 0.0100 nats per token: 11 % more perplexity" in told.text
    )
    assert "Every neighbour was left out, so nothing was merged." in told.text
    assert "not even at an eighth" not in told.text


def test_a_neighbour_that_stands_for_others_names_them(tell: Story) -> None:
    cleo = tried("cleo", weight=0.5, gain=0.02)
    told = tell(
        "cleo", (tried("bert", left="twin", twin_of="id-c"), cleo, tried("dora", left="twin", twin_of="id-c"))
    )

    assert "cleo stands also for bert, dora, nearly identical to it: they share its weight." in told.text
    assert told.document["shared"] == [{"stands": "id-c", "others": ["id-b", "id-d"]}]


def test_the_page_of_the_own_weight_lists_all_that_were_left_out(tell: Story) -> None:
    seen = (
        tried("bert", left="harmful", gain=-0.1, gain_error=0.01),
        tried("cleo", weight=0.5, gain=0.02),
        tried("dora", left="twin", twin_of="id-c"),
    )

    told = tell("anna", seen)

    assert "Left out neighbour why gain bert harmful -0.1000 ± 0.0100 dora twin" in told.text
    assert "dora was left out: it is nearly identical to cleo" in told.text
    assert [(one["name"], one["left"], one["twin_of"]) for one in told.document["left_out"]] == [
        ("bert", "harmful", None),
        ("dora", "twin", "id-c"),
    ]


def test_a_weight_by_standing_is_computed_again_and_said_to_be_one(tell: Story) -> None:
    # Equal gains; cleo has half of the standing that the median has, and so a quarter of the weight.
    seen = (
        tried("bert", weight=1 / 3, gain=0.04, standing=1.0),
        tried("cleo", weight=1 / 12, gain=0.04, standing=0.5),
    )

    told = tell("cleo", seen, {"credit": 2.0})

    assert "by its standing against the median standing" in told.text
    assert "which makes it 8.3 %" in told.text
    assert told.document["steps"]["credited"]


def test_the_weight_before_and_after_gains_and_bounds_is_shown(tell: Story) -> None:
    # Uniform gives a third each; the gains leave cleo half of that; newcomers may have a quarter together.
    seen = (tried("bert", weight=1 / 6, gain=0.04), tried("cleo", weight=1 / 12, gain=0.02))

    told = tell("cleo", seen, {"newcomers": 0.25})

    assert "Evidence alone gives 33.3 %." in told.text
    assert "which makes it 16.7 %" in told.text
    assert (
        "By its bounds, neighbours without a seat get at most 25.0 % together, which makes it 8.3 %."
        in told.text
    )
    assert told.document["steps"]["newcomers_bind"]
    assert not told.document["steps"]["own_share_binds"]
    assert told.answer.check.agrees


def test_the_own_share_is_named_where_it_binds(tell: Story) -> None:
    told = tell("anna", (tried("bert", weight=0.1, gain=0.04, standing=1.0),), {"own_share": 0.9})

    assert "Anna keeps at least 90.0 % of itself, which makes it 90.0 %." in told.text.replace(
        "anna keeps", "Anna keeps"
    )
    assert told.document["steps"]["own_share_binds"]


def test_bounds_that_do_not_bind_are_not_mentioned(tell: Story) -> None:
    told = tell(
        "bert", (tried("bert", weight=0.5, gain=0.04, standing=1.0),), {"newcomers": 0.25, "own_share": 0.1}
    )

    assert "at most" not in told.text
    assert "keeps at least" not in told.text


@pytest.mark.parametrize(
    ("alone", "says"),
    [
        (2.6, "It is 0.1000 nats per token ahead of that, 9.5 % less perplexity."),
        (2.45, "It is 0.0500 nats per token behind that, 5.1 % more perplexity."),
        (2.5, "which is where it is."),
    ],
)
def test_the_peer_is_held_against_training_alone(tell: Story, alone: float, says: str) -> None:
    told = tell("bert", (tried("bert", weight=0.5, gain=0.1),), alone=alone)

    assert f"would be at a trust loss of about {alone:.4f} now" in told.text
    assert says in told.text
    assert told.document["course"]["ahead"] == pytest.approx(alone - 2.5)


def test_what_the_merge_lost_is_shown(tell: Story) -> None:
    told = tell("bert", (tried("bert", weight=0.5, gain=0.1),), discarded=0.023)

    assert "the mixture of the row but for 2.3 % of it (Frobenius norm)" in told.text
    assert told.document["discarded"] == 0.023


def test_a_return_to_the_last_good_state_is_told(tell: Story) -> None:
    told = tell("anna", (tried("bert", left="paused"),), guard="returned", trust_merged=2.25)

    assert "it went back to its last good state (trust loss 2.2500) and trains alone for a while" in told.text
    assert "but for" not in told.text


def test_without_trials_the_page_says_nothing_of_them(tell: Story) -> None:
    told = tell("bert", (tried("bert", weight=0.5),))

    assert told.document["trial"] is None
    assert "Tried by itself" not in told.text
