"""The product writes files in one place, `trust.files`, and in a few others, each with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("gossipllm", "peers", "sim", "trust", "wire")

ALLOWED = {
    "trust/files.py": "the place",
    "trust/folders.py": "moves what a block wrote into its temporary folder",
    "trust/record/writer.py": "cuts a torn end off a history",
    "trust/record/segments.py": "removes the oldest segments of a long history",
    "peers/home/folder.py": "the lock names the process that holds it",
    "peers/home/merge_inputs.py": "forgets them when told to",
    "peers/home/contents.py": "links to whole files, and removes what no generation names",
    "gossipllm/model/adapter/export.py": "writes into a temporary folder of trust.folders",
    "gossipllm/model/adapter/gguf.py": "renames what the converter wrote into a temporary folder",
    "gossipllm/model/contexts/distilled.py": "removes its own temporary files, which nothing outlives",
    "peers/run/learner/log.py": "puts a long log aside, by one rename",
    "sim/experiments/results.py": "writes into a folder with a temporary name, and renames it when it is whole",
    "peers/commands/demo/demo_peers.py": "texts of a new folder, which nothing reads before all are written",
    "peers/commands/demo/processes.py": "the peers' own output, appended",
    "sim/attacks/base_model.py": "trains a base in a temporary folder, and renames it",
}
"""File -> why it may call what changes files. What trains the embedded base is no part of the program."""
NOT_OURS = "gossipllm/base/making/"

CALLS = frozenset(
    {
        "write_text",
        "write_bytes",
        "rename",
        "renames",
        "unlink",
        "rmdir",
        "rmtree",
        "copy2",
        "copyfile",
        "copytree",
        "move",
        "mkdir",
        "makedirs",
        "touch",
        "symlink_to",
        "hardlink_to",
        "ftruncate",
        "NamedTemporaryFile",
        "mkstemp",
    }
)


def writes(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, call) of each call that makes, changes or removes a file, but for files of a folder that appears whole."""
    inside = {id(node) for block in ast.walk(tree) if _is_folder(block) for node in ast.walk(block)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or id(node) in inside:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        # A path is replaced by one argument, a piece of a text by two.
        if name in CALLS or (name == "replace" and len(node.args) == 1 and not node.keywords):
            yield node.lineno, name
        if name == "open" and _opens_to_write(node):
            yield node.lineno, name


def _is_folder(node: ast.AST) -> bool:
    """Whether this is `with written_folder(...):`."""
    return isinstance(node, ast.With) and any(
        isinstance(item.context_expr, ast.Call)
        and isinstance(item.context_expr.func, ast.Name)
        and item.context_expr.func.id == "written_folder"
        for item in node.items
    )


def _opens_to_write(node: ast.Call) -> bool:
    words = [
        one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)
    ]
    flags = {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}
    modes = [word for word in words if word and set(word) <= set("rwxabt+")]
    return any(set(mode) & set("wxa+") for mode in modes) or bool(flags & {"O_CREAT"})


def test_files_are_written_in_one_place() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if str(path.relative_to(ROOT)) not in ALLOWED and not str(path.relative_to(ROOT)).startswith(NOT_OURS)
        for line, name in writes(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found


def test_every_exception_is_still_needed() -> None:
    idle = [
        name for name in ALLOWED if not list(writes(ast.parse((ROOT / name).read_text(encoding="utf-8"))))
    ]
    assert not idle


def test_files_of_a_folder_that_appears_whole_may_be_written_in_its_block_alone() -> None:
    block = "with written_folder(out, key='a') as folder:\n    (folder / 'a').write_text('x')\n"
    assert not list(writes(ast.parse(block)))
    assert list(writes(ast.parse(f"{block}path.write_text('x')"))) == [(3, "write_text")]


def test_a_write_of_any_spelling_is_found() -> None:
    for line in (
        'path.write_text("x")',
        'path.open("wb")',
        'open(name, mode="a")',
        "os.open(path, os.O_WRONLY | os.O_CREAT)",
        "temporary.replace(path)",
        "shutil.copy2(path, aside)",
        "folder.mkdir()",
    ):
        assert list(writes(ast.parse(line))), line
    for line in (
        'text.replace("a", "b")',
        'path.open("rb")',
        "os.open(path, os.O_RDONLY)",
        "replace(one, a=2)",
    ):
        assert not list(writes(ast.parse(line))), line
