"""A hub of fake networks, and a folder for a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.networks import Hub


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a store may begin."""
    return tmp_path / "state"
