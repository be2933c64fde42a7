"""The ledger of tests of which announcements count."""

from __future__ import annotations

import pytest

from gossipllm.config import LearnerConfig
from peers.core.others.admission import Ledger
from support.ledgers import ledger_of


@pytest.fixture
def ledger() -> Ledger:
    return ledger_of(LearnerConfig())
