"""Paths of the embedded base models and of the demonstration texts. Importing this package loads no library.

`model/` and its two smaller siblings, `model-small/` with the same tokenizer and `model-1024/` with a tokenizer of
its own, are folders for `AutoModelForCausalLM.from_pretrained`. `text/` holds five small corpora that are not in the
model's training data. `TRAINING.md` describes how the weights were made, `LICENSES.md` the licences of all.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

CORPORA = ("fr", "de", "it", "en", "java")
"""Names of the demonstration texts: one book in four languages, paragraph for paragraph, and Java sources."""


MODELS = {"embedded": "model", "embedded-small": "model-small", "embedded-1024": "model-1024"}
"""The embedded models by the name that `[model] name` takes, each with its folder."""


def model_folder(name: str = "embedded") -> Path:
    """The folder of an embedded model, by its name in `MODELS`."""
    return _root() / MODELS[name]


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
