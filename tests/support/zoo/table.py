"""The table of the zoo, docs/pages/reference/models.md: what was tried with each family and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import transformers

from support.zoo.trials import TRIALS

PAGE: Final = Path(__file__).parents[3] / "docs" / "pages" / "reference" / "models.md"

HEAD: Final = """# Models

What was tried with every family of causal language models of transformers {version}. A tiny model with random weights
goes through the code of a peer: it is opened from a folder, two learners train it side by side for two steps, weigh
each other and merge. Every tensor that is trained must have moved, and a learner must become the same beside another
as alone. "Export" says that the adapter, loaded by PEFT, and the merged model, loaded by transformers, give the logits
that the learner gives. "no" stands where the model is refused with the line on the right. `make zoo` makes this page.

* float32, bfloat16: `[adapter] train = "both"`; b, full, all, heads: that value of it, in float32
* window: one block at a time (`[layers] count = 1`); int8, int4: with the base held in 8 or 4 bits
* "left out" gives shares of the tiny model, in which experts and embeddings weigh more or less than in yours:
  `gossipllm init` prints those of your model

"""
LABELS: Final = {"both": "float32"}


class Outcome(msgspec.Struct, frozen=True):
    """What came of a family's trials: by the name of a trial, an empty text or the line that refused it. `left` are the
    lines on what is not adapted. `wrong` are faults of ours by trial."""

    family: str
    refused: Mapping[str, str]
    left: tuple[str, ...]
    wrong: Mapping[str, str]
    not_made: str = ""


def page(outcomes: Iterable[Outcome]) -> str:
    names = [trial.name for trial in TRIALS]
    lines = [
        HEAD.format(version=transformers.__version__).rstrip(),
        "",
        "| family | " + " | ".join(LABELS.get(name, name) for name in names) + " | export | what is said |",
        "|" + " --- |" * (len(names) + 3),
        *(row(one) for one in sorted(outcomes, key=lambda one: one.family)),
    ]
    return "\n".join(lines) + "\n"


def row(outcome: Outcome) -> str:
    names = [trial.name for trial in TRIALS]
    if outcome.not_made:
        return (
            f"| {outcome.family} |" + " - |" * (len(names) + 1) + f" not tried: {_cell(outcome.not_made)} |"
        )
    refused, wrong = outcome.refused, outcome.wrong
    cells = ["fault" if name in wrong else "no" if refused[name] else "yes" for name in names]
    exported = any(not refused.get(trial.name, "no") for trial in TRIALS if trial.exports)
    said = [
        *outcome.left,
        *(f"{LABELS.get(name, name)}: fault: {' '.join(why.split()[-22:])}" for name, why in wrong.items()),
    ]
    by_line: dict[str, list[str]] = {}
    for name in names:
        if refused.get(name):
            by_line.setdefault(refused[name], []).append(LABELS.get(name, name))
    for line, which in by_line.items():
        said.append(line if len(which) == len(names) else f"{', '.join(which)}: {line}")
    cells.append("yes" if exported else "no")
    return f"| {outcome.family} | {' | '.join(cells)} | {'<br>'.join(map(_cell, said))} |"


def rows_of(text: str) -> dict[str, str]:
    """The rows of a page by family."""
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    return {line.split(" | ")[0].removeprefix("| "): line for line in rows}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
