"""Text that grows: what was dealt to a split stays there, whatever is added, moved or removed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gossipllm.config import DataConfig
from gossipllm.text.growth import KEPT_GONE, grown_splits
from gossipllm.text.windows import Splits, Windows, cut, split
from trust.errors import UserMistake
from wire.digest import Content

LENGTH = 8
CONFIG = DataConfig(path="notes", window_tokens=LENGTH, trust_fraction=0.2, test_fraction=0.2)
OLD = [f"old {number}" for number in range(60)]
NEW = [f"new {number}" for number in range(40)]


def tokens(document: str) -> NDArray[np.int32]:
    """Five to nine tokens that no other document has."""
    kind, number = document.split()
    first = (0 if kind == "old" else 100_000) + 100 * int(number)
    return np.arange(first, first + 5 + int(number) % 5, dtype=np.int32)


def dealt(documents: list[str], before: Content | None = None, seed: int = 3) -> tuple[Splits, Content]:
    return grown_splits([tokens(one) for one in documents], before, CONFIG, seed=seed)


def rows(windows_WT: Windows) -> set[tuple[int, ...]]:
    return {tuple(window) for window in windows_WT.tolist()}


def parts(splits: Splits) -> list[set[tuple[int, ...]]]:
    return [rows(one) for one in (splits.train_WT, splits.trust_WT, splits.test_WT)]


def test_a_text_that_never_grew_is_dealt_as_ever() -> None:
    twice = [*OLD, *OLD[10:20]]
    splits, _ = dealt(twice)
    as_ever = split(cut(np.concatenate([tokens(one) for one in twice]), LENGTH), CONFIG, seed=3)
    for one, other in zip(
        (splits.train_WT, splits.trust_WT, splits.test_WT),
        (as_ever.train_WT, as_ever.trust_WT, as_ever.test_WT),
        strict=True,
    ):
        assert np.array_equal(one, other)


def test_what_was_dealt_stays_in_its_split_when_text_is_added_in_front_between_and_behind() -> None:
    first, ledger = dealt(OLD)
    grown, after = dealt([*NEW[:10], *OLD[:30], *NEW[10:], *OLD[30:]], ledger)
    for old, new in zip(parts(first), parts(grown), strict=True):
        assert old <= new
    assert all(len(new) > len(old) for old, new in zip(parts(first), parts(grown), strict=True))
    assert after != ledger
    again, same = dealt([*OLD, *NEW], after)
    assert parts(again) == parts(grown)
    assert same == after


def test_growing_again_and_again_moves_nothing() -> None:
    splits, ledger = dealt(OLD)
    for count in range(4, 41, 4):
        grown, ledger = dealt([*NEW[:count], *OLD], ledger)
        for old, new in zip(parts(splits), parts(grown), strict=True):
            assert old <= new
        splits = grown


def test_less_than_a_window_waits_for_more() -> None:
    first, ledger = dealt(OLD)
    waiting, same = dealt([*OLD, "new 0"], ledger)
    assert same == ledger
    assert parts(waiting) == parts(first)


def test_a_document_that_is_gone_takes_its_windows_along_and_no_other() -> None:
    first, ledger = dealt(OLD)
    left, same = dealt([one for one in OLD if one != "old 7"], ledger)
    assert same == ledger
    gone = set(tokens("old 7").tolist())
    for old, new in zip(parts(first), parts(left), strict=True):
        assert new == {window for window in old if not gone & set(window)}
    back, _ = dealt(OLD, ledger)
    assert parts(back) == parts(first)


def test_a_changed_document_is_a_new_one() -> None:
    _, ledger = dealt(OLD)
    changed, _ = dealt([*OLD[:-1], *NEW[:3]], ledger)
    everything = set[tuple[int, ...]]().union(*parts(changed))
    assert any(window[0] >= 100_000 for window in everything)


def test_where_too_much_is_gone_the_user_is_told() -> None:
    _, ledger = dealt(OLD)
    with pytest.raises(UserMistake, match="too much of notes was removed"):
        dealt(OLD[:2], ledger)


def test_windows_without_loss_are_dealt_to_nobody_and_their_absence_moves_none() -> None:
    """A question at the beginning of a conversation bears no loss, and a document that is gone takes no part of what
    was dealt beside it."""
    silent = ~np.arange(900, 900 + 2 * LENGTH, dtype=np.int32)
    text = [tokens(one) for one in OLD[:30]] + [silent] + [tokens(one) for one in OLD[30:]]
    first, ledger = grown_splits(text, None, CONFIG, seed=3)
    without = [*text[:3], *text[4:]]
    left, same = grown_splits(without, ledger, CONFIG, seed=3)

    assert same == ledger
    assert not any((np.array(window) < 0).all() for part in parts(first) for window in part)
    for old, new in zip(parts(first), parts(left), strict=True):
        assert new <= old
    assert sum(map(len, parts(first))) - sum(map(len, parts(left))) in (1, 2)


def test_a_text_that_changes_every_day_does_not_grow_the_ledger() -> None:
    kept, ledger = dealt(OLD)
    grown = kept
    sizes: list[int] = []
    for day in range(3 * KEPT_GONE):
        diary = [f"new {1000 * day + page}" for page in range(3)]
        grown, ledger = dealt([*OLD, *diary], ledger)
        sizes.append(len(ledger.data))
    assert sizes[-1] - sizes[KEPT_GONE + 2] < 6 * 2 * KEPT_GONE, "five bytes for the number of a batch"
    for old, new in zip(parts(kept), parts(grown), strict=True):
        assert old <= new


def test_a_file_that_was_away_for_a_while_keeps_its_splits() -> None:
    _, ledger = dealt(OLD)
    before, ledger = dealt([*OLD, *NEW], ledger)
    for day in range(KEPT_GONE - 2):
        _, ledger = dealt([*OLD, *(f"new {1000 * (day + 1) + page}" for page in range(3))], ledger)
    again, _ = dealt([*OLD, *NEW], ledger)
    for old, new in zip(parts(before), parts(again), strict=True):
        assert old == new
