"""Readers of tasks that are answered by choosing: COPA, and classification as GLUE and Ethos publish it.

A class is the likeliest of a few words after a prompt of plain lines. Every reader raises `UserMistake` that names the
file, the line and what is wrong; `key` is the setting or flag that named the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from gossipllm.tasks.examples import Choose
from gossipllm.tasks.records import csv_rows, json_lines, some, tsv_rows
from gossipllm.text.reading.account import shown
from trust.errors import UserMistake

GlueTask: TypeAlias = Literal["cola", "sst2", "mrpc", "rte"]


class _Premise(msgspec.Struct, frozen=True):
    premise: str
    choice1: str
    choice2: str
    question: Literal["cause", "effect"]
    label: Annotated[int, msgspec.Meta(ge=0, le=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A task of GLUE: its columns, and the prompt and the words that its cells become."""

    columns: tuple[str, ...]
    texts: tuple[str, ...]
    label: str
    labels: dict[str, int]
    prompt: str
    words: tuple[str, ...]
    header: bool = True


GLUE: Final[dict[GlueTask, _Table]] = {
    "cola": _Table(
        columns=("source", "label", "mark", "sentence"),
        texts=("sentence",),
        label="label",
        labels={"0": 0, "1": 1},
        prompt="Sentence: {0}\nGood English:",
        words=("no", "yes"),
        header=False,  # train.tsv and dev.tsv have none; test.tsv has one, and no labels
    ),
    "sst2": _Table(
        columns=("sentence", "label"),
        texts=("sentence",),
        label="label",
        labels={"0": 0, "1": 1},
        prompt="Review: {0}\nOpinion:",
        words=("bad", "good"),
    ),
    "mrpc": _Table(
        columns=("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"),
        texts=("#1 String", "#2 String"),
        label="Quality",
        labels={"0": 0, "1": 1},
        prompt="First: {0}\nSecond: {1}\nSame meaning:",
        words=("no", "yes"),
    ),
    "rte": _Table(
        columns=("sentence1", "sentence2", "label"),
        texts=("sentence1", "sentence2"),
        label="label",
        labels={"not_entailment": 0, "entailment": 1},
        prompt="Text: {0}\nClaim: {1}\nTrue:",
        words=("no", "yes"),
    ),
}
"""The files of GLUE (Wang et al. 2018, 1804.07461) that are read, by the task's name. Prompts and words are guesses."""


def read_copa(file: Path, key: str) -> tuple[Choose, ...]:
    """A .jsonl with `premise`, `choice1`, `choice2`, `question` and `label`: COPA (Roemmele et al. 2011).

    Premise, connective and choice make one sentence, as in the evaluation harness of Gao et al.
    """
    found: list[Choose] = []
    for where, record in json_lines(file, key, _Premise):
        choices = tuple(choice.strip() for choice in (record.choice1, record.choice2))
        premise = record.premise.strip()
        if not premise or not all(choices):
            raise UserMistake(f"{where}: an empty premise or choice")
        connective = "because" if record.question == "cause" else "therefore"
        lowered = tuple(choice[0].lower() + choice[1:] for choice in choices)
        found.append(Choose(f"{premise.removesuffix('.')} {connective}", lowered, record.label))
    return tuple(some(found, file))


def read_glue(file: Path, key: str, task: GlueTask) -> tuple[Choose, ...]:
    """A .tsv with labels, as GLUE publishes it: train.tsv or dev.tsv."""
    table = GLUE[task]
    found: list[Choose] = []
    for where, row in tsv_rows(file, key, table.columns, header=table.header):
        texts = [row[name].strip() for name in table.texts]
        if not all(texts):
            raise UserMistake(f"{where}: {table.texts[texts.index('')]} is empty")
        found.append(_classified(table, texts, row[table.label].strip(), where))
    return tuple(some(found, file))


def read_ethos(file: Path, key: str) -> tuple[Choose, ...]:
    """A .csv, delimited by semicolons, with `comment` and `isHate`, the share of annotators who found hate speech in
    it: Ethos_Dataset_Binary.csv (Mollas et al. 2020, 2006.08328). As in the paper, half of them decide."""
    found: list[Choose] = []
    for where, row in csv_rows(file, key, ("comment", "isHate"), delimiter=";"):
        comment = row["comment"].strip()
        if not comment:
            raise UserMistake(f"{where}: comment is empty")
        share = _share(row["isHate"], where)
        found.append(Choose(f"Comment: {comment}\nHateful:", ("no", "yes"), int(share >= 0.5)))
    return tuple(some(found, file))


def _classified(table: _Table, texts: list[str], label: str, where: str) -> Choose:
    right = table.labels.get(label)
    if right is None:
        raise UserMistake(f"{where}: {table.label} is {shown(label)}, not {' nor '.join(table.labels)}")
    return Choose(table.prompt.format(*texts), table.words, right)


def _share(text: str, where: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UserMistake(f"{where}: isHate is {shown(text)}, not a number from 0 to 1")
    return share
