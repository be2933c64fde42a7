"""The embedded base model and demonstration texts, as files: importing this loads no library.

`model/` is a folder for `AutoModelForCausalLM.from_pretrained`, `text/` holds five small corpora
that the model has not seen. `TRAINING.md` says how the weights were made, `LICENSES.md` under
what terms all of it may be passed on.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

CORPORA = ("fr", "de", "it", "en", "java")
"""One text in four languages, paragraph for paragraph, and Java sources."""


def model_folder() -> Path:
    return _root() / "model"


def corpus_file(name: str) -> Path:
    """UTF-8, a paragraph a line; `java` holds whole files, each behind `// ==== FILE: path`."""
    if name not in CORPORA:
        raise ValueError(f"name must be one of {', '.join(CORPORA)}, got {name!r}")
    return _root() / "text" / f"{name}.txt"


def _root() -> Path:
    root = files(__name__)
    assert isinstance(root, Path), "the package is installed as files, never inside an archive"
    return root
