"""Modules that wait for their first use, on a small package made for each test."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gossipllm import deferred_imports
from gossipllm.deferred_imports import defer, is_executed

HEAVY = """
from heavy.parts import PART
class Thing:
    pass
class BadError(Exception):
    pass
def double(number):
    return 2 * number
def marked(function):
    return lambda: ("marked", function())
"""

INNER = {
    "__init__.py": "FIRST = 1\nfrom heavy.inner.part import SECOND\n",
    "part.py": "from heavy.inner import FIRST\nSECOND = FIRST + 1\n",
}

Importing = Callable[[str], ModuleType]


@pytest.fixture
def importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Importing]:
    """Imports a module of the given source, which may import the deferred package `heavy`."""
    (tmp_path / "heavy").mkdir()
    (tmp_path / "heavy" / "__init__.py").write_text(HEAVY)
    (tmp_path / "heavy" / "parts.py").write_text("PART = 7\ndef three():\n    return 3\n")
    for name, source in INNER.items():
        (tmp_path / "heavy" / "inner").mkdir(exist_ok=True)
        (tmp_path / "heavy" / "inner" / name).write_text(source)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    monkeypatch.setattr(deferred_imports, "DEFERRED", {"heavy": "for this test"})
    monkeypatch.setattr(deferred_imports, "POSTPONED", {"heavy": frozenset({"marked"})})
    defer()

    def imported(source: str) -> ModuleType:
        (tmp_path / "light.py").write_text(source)
        return importlib.import_module("light")

    yield imported
    for name in [name for name in sys.modules if name == "light" or name.partition(".")[0] == "heavy"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "line",
    [
        "import heavy",
        "import heavy.parts",
        "import heavy.parts as parts",
        "from heavy import double",
        "from heavy import parts",
        "from heavy.parts import three",
        "from heavy import Thing\ndef of(thing: Thing | None, other: None | Thing) -> None: ...",
        "from heavy import Thing\nassert not isinstance(3, Thing)\nassert not isinstance(3, (str, Thing))",
        "import heavy\n@heavy.marked\ndef plain():\n    return 1\nassert plain() == 1",
    ],
)
def test_an_import_does_not_execute_a_deferred_module(importing: Importing, line: str) -> None:
    importing(line)
    assert not is_executed("heavy")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("import heavy\nvalue = heavy.double(3)", 6),
        ("from heavy import double\nvalue = double(3)", 6),
        ("from heavy import double\nvalue = double.__name__", "double"),
        ("from heavy.parts import three\nvalue = three()", 3),
        ("from heavy import parts\nvalue = parts.PART", 7),
        ("import heavy.parts\nvalue = heavy.parts.PART", 7),
        ("from heavy import Thing\nclass Own(Thing): ...\nvalue = Own.__mro__[1].__name__", "Thing"),
        ("from heavy import inner, double\ndouble(1)\nvalue = inner.part.SECOND", 2),
        ("from heavy.inner import part\nimport heavy\nheavy.PART\nvalue = part.SECOND", 2),
        ("from heavy import Thing\nThing.real = 5\nvalue = Thing.real", 5),
        (
            "import heavy, heavy.inner\nheavy.PART\nfrom heavy.inner.part import SECOND\nvalue = SECOND",
            2,
        ),
        ("import heavy\nvalue = hasattr(heavy, 'missing')", False),
        ("from heavy import BadError\nvalue = issubclass(BadError, Exception)", True),
        ("from heavy import BadError\ntry:\n    raise BadError\nexcept BadError:\n    value = 1", 1),
        ("import heavy\nfrom heavy import Thing\nheavy.PART\nvalue = isinstance(Thing(), Thing)", True),
        (
            "import heavy\n@heavy.marked\ndef plain():\n    return 1\nheavy.PART\nvalue = plain()",
            ("marked", 1),
        ),
        (
            "import heavy\n@heavy.marked()\ndef plain():\n    return 1\nheavy.PART\nvalue = plain()",
            ("marked", 1),
        ),
    ],
)
def test_using_a_deferred_module_gives_what_it_would_have_given(
    importing: Importing, line: str, value: object
) -> None:
    module: Any = importing(line)
    assert module.value == value
    assert is_executed("heavy")


def test_the_real_objects_take_the_place_of_placeholders_where_these_were_imported(
    importing: Importing,
) -> None:
    module: Any = importing("from heavy import Thing, double\nbefore = double\nafter = double(1)")
    heavy: Any = sys.modules["heavy"]
    assert module.Thing is heavy.Thing
    assert module.double is heavy.double


def test_a_name_that_the_module_lacks_is_an_import_error_at_its_first_use(importing: Importing) -> None:
    module: Any = importing("from heavy import missing")
    with pytest.raises(ModuleNotFoundError, match=r"heavy\.missing"):
        module.missing()


def test_a_module_that_fails_fails_again_at_the_next_use(importing: Importing) -> None:
    module: Any = importing("import heavy")
    Path(str(sys.modules["heavy"].__file__)).write_text("raise RuntimeError('broken')")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            module.heavy.double(1)
