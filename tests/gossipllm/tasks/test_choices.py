"""Data sets that are answered by choosing: files become examples, and errors name file, line and cause.

The files are written here in the layouts in which GLUE, Ethos and SuperGLUE publish theirs.
"""

from __future__ import annotations

import pytest

from gossipllm.tasks.catalogue import TaskName
from gossipllm.tasks.examples import Choose, prompt_targets
from support.task_files import Read, lines
from trust.errors import UserMistake

COPA = {
    "id": "1",
    "question": "cause",
    "premise": "My body cast a shadow over the grass.",
    "choice1": "The sun was rising.",
    "choice2": "The grass was cut.",
    "label": 0,
}
COLA = "gj04\t1\t\tThe sailors sang.\ngj04\t0\t*\tThe sailors the song.\n"
SST2 = 'sentence\tlabel\na "quiet joy \t1\ndull \t0\n'
MRPC = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t70\t71\tHe left .\tHe went away .\r\n"
RTE = (
    "index\tsentence1\tsentence2\tlabel\n"
    "0\tIt rains.\tIt is dry.\tnot_entailment\n"
    "1\tIt rains.\tIt is wet.\tentailment\n"
)
ETHOS = 'comment;isHate\n"You; of all people";0.8571\nFine day;0.0\nHalf and half;0.5\n'


def test_a_premise_and_its_choices_make_sentences(read: Read) -> None:
    effect = {**COPA, "question": "effect", "label": 1}
    choices = ("the sun was rising.", "the grass was cut.")

    assert read("copa", lines(COPA, effect)) == (
        Choose("My body cast a shadow over the grass because", choices, 0),
        Choose("My body cast a shadow over the grass therefore", choices, 1),
    )
    assert prompt_targets(read("copa", lines(COPA)))[0].target == " the sun was rising."


def test_sentences_of_cola_are_good_english_or_not(read: Read) -> None:
    assert read("cola", COLA) == (
        Choose("Sentence: The sailors sang.\nGood English:", ("no", "yes"), 1),
        Choose("Sentence: The sailors the song.\nGood English:", ("no", "yes"), 0),
    )


def test_quotes_in_reviews_are_characters_like_others(read: Read) -> None:
    assert read("sst2", SST2) == (
        Choose('Review: a "quiet joy\nOpinion:', ("bad", "good"), 1),
        Choose("Review: dull\nOpinion:", ("bad", "good"), 0),
    )


def test_pairs_are_read_behind_a_byte_order_mark_and_with_lines_of_windows(read: Read) -> None:
    assert read("mrpc", MRPC) == (
        Choose("First: He left .\nSecond: He went away .\nSame meaning:", ("no", "yes"), 1),
    )


def test_entailment_is_the_label_of_its_word(read: Read) -> None:
    assert [(one.prompt, one.right) for one in read("rte", RTE) if isinstance(one, Choose)] == [
        ("Text: It rains.\nClaim: It is dry.\nTrue:", 0),
        ("Text: It rains.\nClaim: It is wet.\nTrue:", 1),
    ]


def test_half_of_the_annotators_make_a_comment_hateful(read: Read) -> None:
    examples = read("ethos", ETHOS)

    assert examples[0] == Choose("Comment: You; of all people\nHateful:", ("no", "yes"), 1)
    assert [one.right for one in examples if isinstance(one, Choose)] == [1, 0, 1]


@pytest.mark.parametrize(
    ("task", "text", "says"),
    [
        ("copa", lines({**COPA, "label": 2}), "data:1: Expected `int` <= 1 - at `$.label`"),
        ("copa", lines({**COPA, "question": "why"}), "data:1: Invalid enum value 'why'"),
        ("copa", lines({**COPA, "choice2": " "}), "data:1: an empty premise or choice"),
        ("cola", "", "data holds no examples"),
        ("cola", "index\tsentence\n0\tA test.\n", "data:1: 2 cells, not 4"),
        ("cola", COLA + "gj04\t2\t\tHm.\n", "data:3: label is 2, not 0 nor 1"),
        ("sst2", "", "data:1: no column sentence nor label"),
        ("sst2", SST2 + " \t1\n", "data:4: sentence is empty"),
        ("mrpc", "Quality\t#1 String\t#2 String\n", "data:1: no column #1 ID nor #2 ID"),
        ("mrpc", MRPC + "1\t72\t73\tHe\tleft\tus\r\n", "data:3: 6 cells, not 5"),
        ("rte", RTE + "2\tA.\tB.\tneutral\n", "data:4: label is neutral, not not_entailment nor entailment"),
        ("ethos", "comment,isHate\n", "data:1: no column comment nor isHate"),
        ("ethos", ETHOS + "Hm;2\n", "data:5: isHate is 2, not a number from 0 to 1"),
        ("ethos", ETHOS + "Hm;nan\n", "data:5: isHate is nan, not a number"),
        ("ethos", ETHOS + "A; b;1.0\n", "data:5: not as many cells as columns"),
        ("ethos", ETHOS + " ;1.0\n", "data:5: comment is empty"),
    ],
)
def test_a_wrong_line_is_named_with_its_error(read: Read, task: TaskName, text: str, says: str) -> None:
    with pytest.raises(UserMistake) as caught:
        read(task, text)

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
