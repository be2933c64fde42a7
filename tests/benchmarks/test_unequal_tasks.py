"""The benchmark of unequal models says which files it lacks, and tests on lines that nobody trains on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gossipllm.tasks.catalogue import TASKS as MEASURED
from gossipllm.tasks.catalogue import read_examples
from gossipllm.tasks.examples import prompt_targets
from tests.support.benchmark_scripts import load

tasks = load("unequal_tasks")


def test_a_task_names_the_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "copa").mkdir()
    (tmp_path / "copa" / "dev.jsonl").write_text("{}")
    assert tasks.missing(tasks.TASKS["copa"], tmp_path) == ["copa/test.jsonl"]
    assert tasks.missing(tasks.TASKS["rte"], None) == ["glue/RTE/dev.tsv", "glue/RTE/train.tsv"]
    assert tasks.missing(tasks.TASKS["embedded"], None) == []


def test_one_file_is_cut_into_what_trains_and_what_tests(tmp_path: Path) -> None:
    file = tmp_path / "ethos" / "Ethos_Dataset_Binary.csv"
    file.parent.mkdir()
    file.write_text("comment;isHate\n" + "".join(f"comment {n};{n % 2}\n" for n in range(99)))
    (part,) = tasks.TASKS["ethos"].small

    train, test = (
        read_examples(tasks.example_source(part, one), None, key="--data")
        for one in tasks.prepared(part, tmp_path, tmp_path / "out")
    )

    assert (len(train), len(test)) == (79, 20)
    assert not {one.prompt for one in train} & {one.prompt for one in test}


def test_embedded_texts_train_and_test_on_other_lines_than_the_reference_set(tmp_path: Path) -> None:
    train, test = tasks.prepared(tasks.TASKS["embedded"].small[0], None, tmp_path)
    whole = tasks.corpus_file("fr").read_text(encoding="utf-8").splitlines(keepends=True)
    assert train.read_text(encoding="utf-8") + test.read_text(encoding="utf-8") == "".join(
        whole[: round(len(whole) * 0.9)]
    )
    assert tasks.source_of(tasks.TASKS["embedded"].small[0], train) == str(train)


def test_a_part_of_a_translation_keeps_its_pair(tmp_path: Path) -> None:
    place = tmp_path / "translation" / "pud_en_fr_de_it.jsonl"
    place.parent.mkdir()
    place.write_text("".join(json.dumps({"en": f"a {n}", "de": f"b {n}"}) + "\n" for n in range(10)))
    part = tasks.TASKS["translation"].small[1]
    train, test = tasks.prepared(part, tmp_path, tmp_path / "out")
    assert tasks.source_of(part, train) == f"translation:en-de:{train}"
    examples = read_examples(tasks.example_source(part, test), None, key="--data")
    assert [one.target.strip() for one in prompt_targets(examples)] == ["b 8", "b 9"]


@pytest.mark.parametrize("name", tasks.TASKS)
def test_what_is_compared_is_what_the_task_measures(name: str) -> None:
    task = tasks.TASKS[name]
    for part in task.small:
        scores = {"rouge": "rouge_l", "perplexity": "bits_per_byte"}
        assert task.score in {scores.get(one, one) for one in MEASURED[part.kind].metrics}
        assert task.better == (task.score != "bits_per_byte")
