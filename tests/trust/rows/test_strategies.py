"""The table of strategies."""

from __future__ import annotations

import pytest

from trust.rows.evidence_kinds import EVIDENCE
from trust.rows.strategies import STRATEGIES


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_has_its_texts(name: str) -> None:
    strategy = STRATEGIES[name]
    assert strategy.about
    assert strategy.explanation.format(me="p0")
    kinds = {form.evidence for form in strategy.published.values()}
    assert kinds <= EVIDENCE.keys()
