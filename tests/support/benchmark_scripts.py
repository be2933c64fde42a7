"""The scripts of `benchmarks/`, which is no package, as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any, Final

BENCHMARKS: Final = Path(__file__).parents[2] / "benchmarks"


def load(name: str) -> Any:
    """The module of a script."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault(name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module
