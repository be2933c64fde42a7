"""The law of explanations: the row of a round can be computed again from its records."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.toy_networks import WriteRun
from trust.inspection.explain.case import Case, case_of
from trust.inspection.explain.proposals import proposals
from trust.inspection.explain.recomputing import TOLERANCE, recomputed
from trust.inspection.reading.files import HistoryRun
from trust.record.history import Begun, Entry, Round
from trust.rows.bounds import by_certainty
from trust.rows.rows import TrustConfig


def cases(run: HistoryRun) -> list[Case]:
    """A case for each weight of each row."""
    return [
        case_of(run, member.peer, member.peer, number) for member in run.members for number in member.rounds
    ]


SETTINGS: dict[str, dict[str, Any]] = {
    "predictions": {},
    "weights, sharply decayed": {"strategy": "weights", "age_decay": 4.0},
    "validation": {"strategy": "validation"},
    "product": {"strategy": "product", "product_of": ("predictions", "weights", "validation")},
    "uniform": {"strategy": "uniform"},
    "uniform by text": {"strategy": "uniform", "tokens_power": 1.0, "tokens_cap": 1.5},
    "predictions by all text": {"tokens_power": 2.0, "tokens_count": "total", "tokens_alpha": 0.3},
    "fixed": {"strategy": "fixed", "fixed": ("p0=0.2", "p1=0.3")},
    "fomo": {"strategy": "fomo"},
    "local": {"strategy": "local"},
    "as printed": {"form": "paper-text"},
    "as in the code": {"form": "paper-code"},
}


@pytest.mark.parametrize("guard", [True, False])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_every_recorded_weight_is_computed_again(
    written: WriteRun, settings: dict[str, Any], guard: bool
) -> None:
    run = written(TrustConfig(**settings), guard=guard)
    found = cases(run)
    assert len(found) == 24
    for case in found:
        again = recomputed(case)
        assert again.row is not None, again.why
        assert again.row == pytest.approx(case.row, abs=TOLERANCE, rel=0)
        if case.record.guard in ("taken", "shrunk"):
            losses = [candidate.temperature for candidate in again.candidates]
            assert case.record.temperature in losses


def test_a_row_that_an_uncertain_gain_held_back_is_computed_again(written: WriteRun) -> None:
    held = 0
    for case in cases(written(TrustConfig(strategy="uniform"), rounds=12)):
        if case.record.guard not in ("taken", "shrunk") or case.record.judged is None:
            continue
        row = by_certainty(case.row, 0.7)
        seen = tuple(
            msgspec.structs.replace(one, weight=weight)
            for one, weight in zip(case.record.seen, row[1:], strict=True)
        )
        record = msgspec.structs.replace(case.record, certainty=0.7, self_weight=row[0], seen=seen)
        again = recomputed(replace(case, record=record))
        assert again.row == pytest.approx(row, abs=TOLERANCE, rel=0)
        assert again.halvings == recomputed(case).halvings
        held += 1
    assert held > 10


def test_the_records_include_rows_that_the_guard_shrank_or_refused(written: WriteRun) -> None:
    """The law was tested on such rows: they come from plain averaging among unlike peers."""
    halvings = Counter(
        (case.record.guard, recomputed(case).halvings)
        for case in cases(written(TrustConfig(strategy="uniform"), rounds=12))
    )
    assert {guard for guard, _ in halvings} >= {"shrunk", "refused"}
    assert {times for guard, times in halvings if guard == "shrunk"} <= {1, 2, 3, None}
    assert {times for guard, times in halvings if guard == "refused"} == {3}


def test_the_records_include_old_announcements_and_unequal_texts(written: WriteRun) -> None:
    """The law was tested on such rows: the records hold ages above 0 and claims of text that differ."""
    seen = [neighbour for case in cases(written(TrustConfig())) for neighbour in case.record.seen]
    assert {neighbour.age > 0 for neighbour in seen} == {True, False}
    assert len({neighbour.tokens for neighbour in seen}) > 2


def test_a_learned_row_cannot_be_computed_again_and_the_reason_is_given(written: WriteRun) -> None:
    for case in cases(written(TrustConfig(strategy="learned"))):
        again = recomputed(case)
        if case.record.guard in ("taken", "shrunk"):
            assert again.row is None
            assert "gradient" in again.why


def changed(entries: tuple[Entry, ...], **fields: Any) -> list[Entry]:
    """Entries with other values in all `Round` and `Begun` records that have these fields."""
    kind = Begun if "trust" in fields else Round
    return [
        msgspec.structs.replace(entry, record=msgspec.structs.replace(entry.record, **fields))
        if isinstance(entry.record, kind)
        else entry
        for entry in entries
    ]


def test_without_the_settings_there_is_no_row_but_guesses_by_the_defaults(
    written: WriteRun, tmp_path: Path
) -> None:
    run = written(TrustConfig())
    (tmp_path / "history.msgpack").unlink()
    old = written(changed(run.entries, trust="", program=""))
    taken = [case for case in cases(old) if case.record.guard == "taken"]
    assert taken
    for case in taken:
        again = recomputed(case)
        assert (case.settings, again.row) == (None, None)
        assert "earlier version" in again.why
        assert any(proposal.candidates for proposal in proposals(case) if proposal.strategy == "uniform")


def test_a_strategy_that_this_program_does_not_know_leaves_the_rest_explained(
    written: WriteRun, tmp_path: Path
) -> None:
    run = written(TrustConfig())
    (tmp_path / "history.msgpack").unlink()
    for case in cases(written(changed(run.entries, trust='{"strategy":"telepathy"}', strategy="telepathy"))):
        assert case.trust is None
        assert proposals(case) == ()
        assert recomputed(case).candidates == ()
