"""The tasks of `unequal_models.py`: which files each needs, what every peer holds of them, and what is measured.

A task has a part for each small peer; the large peer reads English and has nothing of these. Where a data set has no
files of its own for training and testing, its last fifth tests (of lines, in their order).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gossipllm.base import corpus_file
from gossipllm.tasks.catalogue import SampleSource, TaskName

MOST_BYTES: Final = 400_000
"""Bytes of a running text that are used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one peer trains on and is tested on. `test` is the training file where `split` is true, of which the last
    fifth tests."""

    kind: TaskName
    pair: str = ""
    train: str
    test: str = ""

    @property
    def split(self) -> bool:
        return not self.test

    @property
    def files(self) -> tuple[str, ...]:
        return (self.train,) if self.split else (self.train, self.test)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnequalTask:
    """`small` has a part for each small peer. `score` is the number that is compared, `better` whether more is."""

    small: tuple[Part, ...]
    score: str
    better: bool = True

    @property
    def samples(self) -> bool:
        return self.small[0].kind != "text"


def _text(file: str) -> Part:
    return Part(kind="text", train=file)


def _glue(name: TaskName, folder: str) -> UnequalTask:
    part = Part(kind=name, train=f"glue/{folder}/train.tsv", test=f"glue/{folder}/dev.tsv")
    return UnequalTask(small=(part,), score="accuracy")


TASKS: Final[dict[str, UnequalTask]] = {
    "text": UnequalTask(
        small=tuple(_text(f"multi/{one}.txt") for one in ("fr", "de", "it")),
        score="bits_per_byte",
        better=False,
    ),
    "embedded": UnequalTask(
        small=tuple(_text(f"embedded:{one}") for one in ("fr", "de", "it")),
        score="bits_per_byte",
        better=False,
    ),
    "translation": UnequalTask(
        small=tuple(
            Part(kind="translation", pair=pair, train="translation/pud_en_fr_de_it.jsonl")
            for pair in ("en-fr", "en-de", "en-it")
        ),
        score="chrf",
    ),
    "flores": UnequalTask(
        small=tuple(
            Part(kind="translation", pair=f"eng_Latn-{code}", train="flores/dev", test="flores/devtest")
            for code in ("fra_Latn", "deu_Latn", "ita_Latn")
        ),
        score="chrf",
    ),
    "in22": UnequalTask(
        small=tuple(
            Part(kind="translation", pair=f"eng_Latn-{code}", train="in22/conv", test="in22/gen")
            for code in ("hin_Deva", "ben_Beng", "tam_Taml")
        ),
        score="chrf",
    ),
    "xlsum": UnequalTask(
        small=tuple(
            Part(kind="xlsum", train=f"xlsum/{one}_train.jsonl", test=f"xlsum/{one}_test.jsonl")
            for one in ("french", "spanish", "portuguese")
        ),
        score="rouge_l",
    ),
    "e2e": UnequalTask(
        small=(Part(kind="e2e", train="e2e/train.csv", test="e2e/test.csv"),), score="rouge_l"
    ),
    "copa": UnequalTask(
        small=(Part(kind="copa", train="copa/dev.jsonl", test="copa/test.jsonl"),), score="accuracy"
    ),
    "ethos": UnequalTask(
        small=(Part(kind="ethos", train="ethos/Ethos_Dataset_Binary.csv"),), score="accuracy"
    ),
    "cola": _glue("cola", "CoLA"),
    "sst2": _glue("sst2", "SST-2"),
    "mrpc": _glue("mrpc", "MRPC"),
    "rte": _glue("rte", "RTE"),
}
"""Name -> task. Running text of --data, or the embedded texts; translation of sentences in one file, of FLORES, or of
IN22, whose conversations train; then summaries (XL-Sum), data to text (E2E), choices (COPA) and classes by likelihood
(Ethos, GLUE)."""

LARGE: Final = "embedded:en"
"""What the large peer reads: English, as running text or a sample a line."""


def missing(task: UnequalTask, data: Path | None) -> list[str]:
    """The files of the task that are not there."""
    wanted = [file for part in task.small for file in part.files if not file.startswith("embedded:")]
    if data is None:
        return sorted(set(wanted))
    return sorted({file for file in wanted if not (data / file).exists()})


def prepared(part: Part, data: Path | None, folder: Path) -> tuple[Path, Path]:
    """Paths of what a peer trains on and of what tests it; written into `folder` where one file has to be split."""
    if not part.split:
        assert data is not None, "a task without files is skipped"
        return data / part.train, data / part.test
    name = part.train.replace("/", "-").replace(":", "-")
    suffix = "" if Path(name).suffix else ".txt"
    train, test = folder / f"train-{name}{suffix}", folder / f"test-{name}{suffix}"
    if not test.exists():
        folder.mkdir(parents=True, exist_ok=True)
        lines = _lines(part, data)
        header = lines[:1] if part.kind == "ethos" else lines[:0]
        border = round(len(lines) * 0.8)
        train.write_text("".join(lines[:border]), encoding="utf-8")
        test.write_text("".join([*header, *lines[border:]]), encoding="utf-8")
    return train, test


def source_of(part: Part, train: Path) -> str:
    """As a scenario names it."""
    if part.kind == "text":
        return str(train)
    return f"{part.kind}:{part.pair}:{train}" if part.pair else f"{part.kind}:{train}"


def example_source(part: Part, test: Path) -> SampleSource:
    return SampleSource(part.kind, part.pair, test)


def _lines(part: Part, data: Path | None) -> Sequence[str]:
    if part.train.startswith("embedded:"):
        # The last tenth is the reference set's.
        lines = (
            corpus_file(part.train.partition(":")[2]).read_text(encoding="utf-8").splitlines(keepends=True)
        )
        return lines[: round(len(lines) * 0.9)]
    assert data is not None, "a task without files is skipped"
    text = (data / part.train).read_text(encoding="utf-8")
    if part.kind == "text":
        text = text[:MOST_BYTES]
    return text.splitlines(keepends=True)
