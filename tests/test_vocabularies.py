"""The allowed values of a setting are spelt out once in the whole tree, and read from there."""

from __future__ import annotations

import ast
from itertools import permutations
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("gossipllm", "peers", "trust", "wire", "sim", "benchmarks", "tests")


def test_no_literal_type_repeats_another_or_a_part_of_it() -> None:
    found = literals()

    repeated = [
        f"{one} has {sorted(some)}, which {other} has already"
        for (one, some), (other, more) in permutations(found, 2)
        if some <= more
    ]

    assert not repeated, "\n".join(repeated)


def test_the_scan_sees_a_literal_type_that_repeats_a_part_of_another() -> None:
    tree = ast.parse('Rule = Literal["svd", "mean", "pad"]\ndef f(rule: Literal["pad", "mean"] | None): ...')

    whole, part = literals_in(tree)

    assert part < whole


def literals() -> list[tuple[str, frozenset[str]]]:
    return [
        (f"{file.relative_to(ROOT)}, literal {number}", words)
        for folder in FOLDERS
        for file in sorted((ROOT / folder).rglob("*.py"))
        for number, words in enumerate(literals_in(ast.parse(file.read_text(encoding="utf-8"))), start=1)
    ]


def literals_in(tree: ast.AST) -> list[frozenset[str]]:
    """The strings of every `Literal[...]` that has at least two. A single string is a tag, not a vocabulary."""
    found: list[frozenset[str]] = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id == "Literal"
            and isinstance(node.slice, ast.Tuple)
        ):
            words = [each.value for each in node.slice.elts if isinstance(each, ast.Constant)]
            found.append(frozenset(word for word in words if isinstance(word, str)))
    return [words for words in found if len(words) > 1]
