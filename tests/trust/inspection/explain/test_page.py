"""The page of `trust explain`: its lines fit the terminal, and its sentences agree with the records."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from support.records import entry_of, round_of
from support.toy_networks import WriteRun
from trust.errors import UserMistake
from trust.inspection.explain.answering import explained
from trust.inspection.explain.case import Case, case_of
from trust.inspection.explain.document import Explanation, LeaveOneOut
from trust.inspection.explain.page import print_page
from trust.inspection.explain.proposals import proposals
from trust.record.history import Begun, Distilled, Entry, Refusal, Round, Seen, Traffic
from trust.rows.rows import TrustConfig

KNOWN = LeaveOneOut(as_used=2.0, kept_at_home=2.25, kept_at_home_error=0.05, spread=2.01, spread_error=0.04)


def explanation_of(case: Case, without: LeaveOneOut = KNOWN) -> Explanation:
    return explained(case, proposals(case), losses={}, without=without)


def page(explanation: Explanation, width: int = 60) -> str:
    """Text of the printed page, with single blanks. Checks that its lines fit `width`."""
    out = io.StringIO()
    print_page(explanation, Console(file=out, width=width, highlight=False))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    return " ".join(out.getvalue().split())


Story = Callable[..., list[Entry]]


@pytest.fixture
def story() -> Story:
    """Peer a in rounds 0 to 3: b is always there, c from round 2 on. `fields` go into the record of round 3, and
    `trust` are its settings."""

    def make(trust: TrustConfig | None = None, **fields: Any) -> list[Entry]:
        settings = msgspec.json.encode(trust or TrustConfig()).decode()
        begun = Begun(
            peer="id-a", name="anna", round=0, base="", tokenizer="", reference="", layout="", test_loss=2.0,
            strategy="predictions", merge="svd", program="1", trust=settings,
        )  # fmt: skip
        names = {"id-b": "bert", "id-c": "cleo"}
        weights = [{"id-b": 0.5}, {"id-b": 0.25}, {"id-b": 0.5, "id-c": 0.125}, {"id-b": 0.25, "id-c": 0.125}]
        rounds = [round_of("id-a", number, row, names=names) for number, row in enumerate(weights)]
        rounds[-1] = msgspec.structs.replace(rounds[-1], **fields)
        return [entry_of(record) for record in (begun, *rounds)]

    return make


def refusal(round_: int, field: str) -> Entry:
    record = Refusal(peer="id-a", about="id-b", field=field, why=f"bad in round {round_}\x1b[2J")
    return Entry(at_s=9.0, traffic=Traffic(sent={}, received={}), record=record)


def test_a_page_of_a_real_network_of_toys_fits_and_agrees(written: WriteRun) -> None:
    run = written(TrustConfig(tokens_power=1.0))
    for other in ("p0", "p1", "p2", "p3"):
        text = page(explanation_of(case_of(run, "p0", other, None)))
        assert "Computed again from the records, the weight comes out the same." in text
        assert "> predictions" in text
        assert "Over the rounds" in text


@pytest.mark.parametrize(
    "settings", [{"strategy": name} for name in ("learned", "fixed", "local", "fomo", "product")]
)
def test_every_strategy_has_a_page(written: WriteRun, settings: dict[str, Any]) -> None:
    run = written(TrustConfig(**settings))
    for member in run.members:
        for number in member.rounds:
            for other in ("p0", "p3"):
                if any(seen.name == other for record in member.rounds.values() for seen in record.seen):
                    assert page(explanation_of(case_of(run, member.peer, other, number)))


def test_the_weight_its_rank_and_the_rest_of_the_row(written: WriteRun, story: Story) -> None:
    text = page(explanation_of(case_of(written(story()), "anna", "bert", None)))
    assert text.startswith("Why anna gives bert 25.0 % in round 3 bert is 1st of 2 neighbours by weight.")
    assert "anna 62.5 %" in text
    assert "cleo 12.5 %" in text


def test_a_row_that_does_not_follow_from_the_records_is_reported(written: WriteRun, story: Story) -> None:
    # Both neighbours are equally near, so each would have a third at every temperature.
    explanation = explanation_of(case_of(written(story(temperature=4.0)), "anna", "bert", None))
    assert explanation.check.agrees is False
    assert explanation.check.difference == pytest.approx(1 / 3 - 0.25)
    assert "the weight is 0.333333333333333" in page(explanation)
    assert "but 0.25 was recorded" in page(explanation)


def test_a_temperature_that_was_never_tried_is_reported(written: WriteRun, story: Story) -> None:
    explanation = explanation_of(case_of(written(story(temperature=0.5)), "anna", "bert", None))
    assert explanation.check.weight is None
    assert "could not be computed again: none of the candidates has the temperature 0.5." in page(explanation)


def test_the_loss_without_the_neighbour_is_shown_with_its_error(written: WriteRun, story: Story) -> None:
    case = case_of(written(story()), "anna", "bert", None)
    text = page(explanation_of(case))
    assert "its weight kept by anna 2.2500 +0.2500 ± 0.0500" in text
    assert (
        "the loss rises where its weight stays at home, and changes by no more than chance may where others"
    ) in text
    harm = msgspec.structs.replace(KNOWN, kept_at_home=1.5, spread=1.5)
    assert "Without bert, the loss falls, either way." in page(explanation_of(case, harm))
    unknown = LeaveOneOut(why="the adapters are gone")
    assert "is unknown: the adapters are gone." in page(explanation_of(case, unknown))


def test_age_text_and_refusals_near_the_round_are_shown(written: WriteRun, story: Story) -> None:
    old = Seen(
        peer="id-b",
        name="bert",
        its_round=1,
        age=2,
        distance=0.5,
        error=0.1,
        weight=0.25,
        tokens=3000,
        samples=1,
    )
    trust = TrustConfig(tokens_power=1.0)
    entries = story(trust, seen=(old,))
    entries = [*entries[:2], refusal(1, "offer"), *entries[2:4], refusal(3, "update"), *entries[4:]]
    text = page(explanation_of(case_of(written(entries), "anna", "bert", 3)))
    assert "bert's word was 2 rounds old, which multiplies its weight by 0.58." in text
    assert "bert says that it trained on 3,000 tokens" in text
    assert (
        "75.0 % of the text of all here, but counts as 66.7 %: nobody counts more than 2 times the median"
        in text
    )
    assert "round 3: update: bad in round 3\\x1b[2J" in text
    assert "\x1b" not in text


def test_a_guard_that_shrank_or_refused_is_explained(written: WriteRun, story: Story, tmp_path: Path) -> None:
    shrunk = page(explanation_of(case_of(written(story(guard="shrunk")), "anna", "bert", 3)))
    assert "moved halfway toward that" in shrunk
    (tmp_path / "history.msgpack").unlink()
    none = tuple(
        Seen(peer=f"id-{n}", name=n, its_round=3, age=0, distance=0.5, error=0, weight=0.0, tokens=1)
        for n in "bc"
    )
    refused = explanation_of(
        case_of(written(story(guard="refused", seen=none, self_weight=1.0)), "anna", "b", 3)
    )
    assert refused.check.agrees
    assert refused.halvings == 3
    text = page(refused)
    assert "Why anna gives b nothing in round 3" in text
    assert "the merge was refused" in text
    assert "had no weight, so leaving it out changes nothing" in text


def test_an_absent_neighbour_is_shown_with_its_history(written: WriteRun, story: Story) -> None:
    explanation = explanation_of(case_of(written(story()), "anna", "cleo", 1))
    assert (explanation.took_part, explanation.last_met, explanation.weight) == (False, None, 0.0)
    assert "cleo did not take part in round 1." in page(explanation)
    assert [change.weight for change in explanation.history] == [None, None, 0.125, 0.125]


def test_the_peers_own_weight_is_explained_too(written: WriteRun, story: Story) -> None:
    explanation = explanation_of(case_of(written(story()), "anna", "anna", None))
    text = page(explanation)
    assert "Why anna keeps 62.5 % of itself in round 3" in text
    assert "Without anna" not in text
    assert explanation.rank is None


def test_a_round_with_pushed_shares_has_no_weights(written: WriteRun, story: Story) -> None:
    explanation = explanation_of(case_of(written(story(absorbed=2, self_weight=1.0)), "anna", "bert", 3))
    assert explanation.strategies == ()
    assert "took in 2 of them. There are no weights" in page(explanation)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("anna", "dora", None), 'no peer is called "dora"; there are'),
        (("bert", "anna", None), "bert recorded no round in"),
        (("anna", "bert", 9), "anna recorded no round 9; there are 0 to 3"),
    ],
)
def test_a_user_mistake_is_one_line(
    written: WriteRun, story: Story, words: tuple[Any, ...], says: str
) -> None:
    run = written(story())
    with pytest.raises(UserMistake) as caught:
        case_of(run, *words)
    assert says in caught.value.message
    assert "\n" not in caught.value.message


def test_a_neighbour_that_was_never_met_is_one_line(written: WriteRun, story: Story) -> None:
    loner = Entry(at_s=0.0, traffic=Traffic(sent={}, received={}), record=round_of("id-d", 0, {}))
    run = written([*story(), loner])
    with pytest.raises(UserMistake, match=r"anna never took id-d into a round.*; it took bert, cleo"):
        case_of(run, "anna", "id-d", None)


def test_numbers_that_are_not_finite_are_null_in_the_document(written: WriteRun, story: Story) -> None:
    entries = story(trust_alone=math.nan, tried=((4.0, math.inf), (1.0, math.nan)), temperature=1.0)
    explanation = explanation_of(case_of(written(entries), "anna", "bert", 3))
    assert page(explanation)
    document = json.loads(msgspec.json.encode(explanation))
    assert document["schema"] == 1
    assert document["trust_alone"] is None


def test_a_hostile_name_is_escaped(written: WriteRun, story: Story) -> None:
    entries = [
        msgspec.structs.replace(entry, record=msgspec.structs.replace(entry.record, name="[red]\x1b[2J"))
        if isinstance(entry.record, Begun)
        else entry
        for entry in story()
    ]
    text = page(explanation_of(case_of(written(entries), "id-a", "bert", None)))
    assert "\x1b" not in text
    assert "[red]" in text


def test_sparks_end_where_a_line_does(written: WriteRun) -> None:
    rounds = [round_of("id-a", n, {"id-b": n / 1000}) for n in range(300)]
    assert isinstance(rounds[0], Round)
    text = page(
        explanation_of(case_of(written([entry_of(record) for record in rounds]), "id-a", "id-b", None))
    )
    assert "round 260 to 299" in text


@pytest.mark.parametrize("weights", [(math.nan, 0.5), (math.inf, 0.5), (0.5, math.nan), (0.5, math.inf)])
def test_weights_that_are_not_finite_have_a_page(written: WriteRun, weights: tuple[float, ...]) -> None:
    rounds = [round_of("id-a", number, {"id-b": weight}) for number, weight in enumerate(weights)]
    run = written([entry_of(record) for record in rounds])
    for other in ("id-a", "id-b"):
        assert "Over the rounds" in page(explanation_of(case_of(run, "id-a", other, None)))


@pytest.mark.parametrize("temperature", [0.0, -0.5])
def test_a_temperature_that_is_not_positive_is_reported(
    written: WriteRun, story: Story, temperature: float
) -> None:
    run = written(story(temperature=temperature))
    assert "recorded temperature is not above 0" in page(explanation_of(case_of(run, "anna", "bert", None)))


def test_how_a_row_was_made_is_not_guessed(written: WriteRun) -> None:
    run = written([entry_of(round_of("id-a", 0, {"id-b": 0.5}))])
    assert "How the row was made was not recorded." in page(
        explanation_of(case_of(run, "id-a", "id-b", None))
    )


DISTILLED = Distilled(
    steps=2, rows=460, taught=78, kl_before=0.9, kl_after=0.45, share=0.25, gain=0.0176, error=0.0099
)


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (DISTILLED, "It kept 25.0 % of the way, which lowered its trust loss by 0.0176 ± 0.0099 nats."),
        (
            msgspec.structs.replace(DISTILLED, share=0.0, gain=-0.02),
            "The best part of the way raised its trust loss by 0.0200 ± 0.0099 nats, so the steps were undone.",
        ),
        (msgspec.structs.replace(DISTILLED, share=0.0, taught=0), "Distilling found nothing"),
    ],
)
def test_the_page_says_what_distilling_did(
    story: Story, written: WriteRun, done: Distilled, said: str
) -> None:
    shown = page(explanation_of(case_of(written(story(distilled=done)), "anna", "bert", 3)))
    assert said in shown


def test_the_page_says_nothing_of_distilling_where_there_was_none(story: Story, written: WriteRun) -> None:
    assert "istill" not in page(explanation_of(case_of(written(story()), "anna", "bert", 3)))
