"""Paths of the embedded base model and of the demonstration texts. Importing this package loads no library.

`model/` is a folder for `AutoModelForCausalLM.from_pretrained`. `text/` holds five small corpora that are not in the
model's training data. `TRAINING.md` describes how the weights were made, `LICENSES.md` the licences of both.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

CORPORA = ("fr", "de", "it", "en", "java")
"""Names of the demonstration texts: one book in four languages, paragraph for paragraph, and Java sources."""


def model_folder() -> Path:
    return _root() / "model"


def corpus_file(name: str) -> Path:
    """The path of a demonstration text, in UTF-8.

    Each line is a paragraph. `java` holds whole source files, each after a line `// ==== FILE: path`.
    """
    if name not in CORPORA:
        raise ValueError(f"name must be one of {', '.join(CORPORA)}, got {name!r}")
    return _root() / "text" / f"{name}.txt"


def _root() -> Path:
    root = files(__name__)
    assert isinstance(root, Path), "the package is installed as files, never inside an archive"
    return root
