"""The command `gossipllm eval`: a base model and adapters, measured on tasks. Torch is imported when it runs.

The command is in `peers` because it reads homes; the measurements are in `gossipllm.tasks`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from rich.console import Console

from gossipllm.config import ModelConfig
from gossipllm.config.choices import Device, Dtype
from gossipllm.config.text import Loss
from gossipllm.tasks.catalogue import TASKS, Metric, TaskName
from gossipllm.tasks.metrics import BertModel, check_libraries
from peers.home.config import PeerConfig, load_config
from peers.home.folder import Home
from peers.home.merge_inputs import read_merge_inputs
from trust.errors import UserMistake
from trust.names import escaped
from trust.progress import progress_stages

if TYPE_CHECKING:
    from gossipllm.model.adapter.source import AdapterSource
    from gossipllm.tasks.neighbours import NeighbourAdapter


@click.command("eval")
@click.argument("model", metavar="MODEL_OR_HOME")
@click.option(
    "--task",
    type=click.Choice(list(TASKS)),
    default="text",
    show_default=True,
    help="What to measure on; see above.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    metavar="PATH",
    help="The task's file or folder.",
)
@click.option(
    "--adapter",
    "places",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A peer's home or a PEFT adapter to compare with the base; may be repeated.",
)
@click.option(
    "--neighbours/--no-neighbours",
    default=True,
    show_default=True,
    help="Of a home, also measure each neighbour's adapter as last merged.",
)
@click.option(
    "--pair", default="en-fr", show_default=True, metavar="FROM-TO", help="Languages of a translation."
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N examples or documents."
)
@click.option(
    "--metrics",
    metavar="NAME,...",
    help="rouge, bleu, chrf, bertscore, accuracy, perplexity.  [default: those of the task]",
)
@click.option(
    "--max-new-tokens",
    "new_tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="Longest answer.  [default: by task]",
)
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Answers at once.")
@click.option(
    "--window-tokens",
    "window",
    type=click.IntRange(min=2),
    help="Window of plain text.  [default: up to 1024]",
)
@click.option(
    "--loss",
    type=click.Choice(get_args(Loss)),
    default="answers",
    show_default=True,
    help="What is measured of conversations in plain text.",
)
@click.option(
    "--bert",
    default=BertModel().name,
    show_default=True,
    metavar="NAME_OR_FOLDER",
    help="Model of BERTScore: a folder, or a name on the Hugging Face hub.",
)
@click.option(
    "--bert-layer",
    type=click.IntRange(min=0),
    metavar="N",
    help="Its layer.  [default: bert-score's choice for models that it knows]",
)
@click.option("--device", type=click.Choice(get_args(Device)), help="Where to compute.")
@click.option("--dtype", type=click.Choice(get_args(Dtype)), help="Type of the base model.")
@click.option(
    "--threads", type=click.IntRange(0, 1024), metavar="N", help="Processor threads; 0: torch's choice."
)
@click.option("--show", type=click.IntRange(min=0), default=0, metavar="N", help="Also print N examples.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document (see above) instead of a table.")
def evaluate(
    model: str,
    task: str,
    data: Path,
    places: tuple[Path, ...],
    neighbours: bool,
    pair: str,
    limit: int | None,
    metrics: str | None,
    new_tokens: int | None,
    batch: int,
    window: int | None,
    loss: Loss,
    bert: str,
    bert_layer: int | None,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    show: int,
    as_json: bool,
) -> None:
    """Measure a model on a task, and beside it what peers have learned.

    MODEL_OR_HOME is "embedded", a folder, a name on the Hugging Face hub, or a peer's home: then its base model,
    what the peer last saved, and what it last merged of each neighbour (peer.keep_neighbours). Of what a neighbour
    does not offer, the peer's own part stands in its place, and an adapter of another rank is brought to the peer's
    own, as when the peer weighs it. Answers are greedy, so a repeated run gives the same. Every answer and its
    likelihood come after the same prompts that `sim` trains on.

    \b
    Tasks and the files that they read:
      e2e           .csv with mr and ref; references of one mr go together
      instructions  .jsonl with instruction, context, response, or messages
      xlsum         .jsonl with text and summary
      translation   .jsonl with a sentence for each language code, or a folder
                    with a file for each: eng_Latn.dev, test.eng_Latn
      copa          .jsonl with premise, choice1, choice2, question, label
      cola, sst2, mrpc, rte
                    train.tsv or dev.tsv as in GLUE
      ethos         .csv with comment;isHate
      text          a file or a folder, as a peer reads it; of conversations
                    only the answers are measured, as in training

    \b
    Their metrics:
      e2e           rouge, bleu, chrf, perplexity
      instructions  rouge, chrf, perplexity
      xlsum         rouge, perplexity
      translation   bleu, chrf, perplexity
      copa, cola, sst2, mrpc, rte, ethos
                    accuracy, perplexity
      text          perplexity
    rouge, bleu, chrf and bertscore are an extra: pip install 'gossipllm[eval]'

    \b
    Examples:
      gossipllm eval ~/.gossipllm --data notes.txt
      gossipllm eval embedded --task e2e --data e2e/test.csv --show 3
      gossipllm eval embedded --task copa --data copa/test.jsonl \\
        --adapter anna --adapter bert
      gossipllm eval ~/models/gpt2 --task translation --data pud.jsonl \\
        --pair en-de --json
      gossipllm eval ~/.gossipllm --task instructions --data dolly.jsonl \\
        --metrics rouge,bertscore --bert ~/models/roberta-large --bert-layer 17

    \b
    JSON, schema 1 (numbers that are not finite are null; scores are per cent,
    but for the last line's):
      schema, task, data, pair, model, examples, metrics[], new_tokens,
      answered        documents of which only the answers are measured
      results[]       name, adapter (a folder; null for the base; a
                      neighbour's id), scores{}, cut, seconds
      signatures{}    what was computed, by metric, in its library's words
      versions{}      of gossipllm, torch and transformers
      shown[]         context, expected[], answers[] (one for each of results)
      in scores       perplexity, bits_per_byte, tokens
    """
    wanted = _metrics(metrics, _named(task))
    check_libraries(wanted)

    from transformers.utils.logging import disable_progress_bar

    from gossipllm.tasks.evaluation import EvaluationRequest, compared
    from gossipllm.tasks.results import json_of
    from gossipllm.tasks.tables import print_list, print_table

    disable_progress_bar()
    asked = EvaluationRequest(
        task=_named(task),
        data=data,
        pair=pair if task == "translation" else "",
        limit=limit or 2**31,
        metrics=wanted,
        new_tokens=new_tokens or TASKS[_named(task)].new_tokens,
        batch=batch,
        window=window or 0,
        loss=loss,
        bert=BertModel(bert, bert_layer),
        show=show,
    )
    config, beside = _subject(model, places, neighbours=neighbours)
    config = _replaced(config, device=device, dtype=dtype, threads=threads)
    with progress_stages(Console(stderr=True)) as stages:
        report = compared(asked, config, beside, stages, left_out=_left_out)
    if as_json:
        click.echo(json_of(report))
    else:
        (print_list if task == "text" else print_table)(report, Console(highlight=False))


def _left_out(name: str, why: str) -> None:
    click.echo(f"warning: the adapter of {name} cannot be measured: {why}", err=True)


def _named(task: str) -> TaskName:
    assert task in TASKS, "click lets only names of tasks pass"
    return task


def _metrics(given: str | None, task: TaskName) -> tuple[Metric, ...]:
    """The metrics to compute, in a fixed order; by default those of the task."""
    if given is None:
        return TASKS[task].metrics
    wanted = [name.strip() for name in given.split(",")]
    for name in wanted:
        if name not in TASKS[task].possible:
            raise UserMistake(
                f'--metrics: "{name}" does not go with --task {task}, which has {", ".join(TASKS[task].possible)}'
            )
    return tuple(name for name in TASKS[task].possible if name in wanted)


def _subject(
    model: str, places: tuple[Path, ...], *, neighbours: bool
) -> tuple[ModelConfig, list[AdapterSource | NeighbourAdapter]]:
    """The base model and the adapters to compare with it. A home as MODEL_OR_HOME names both, and has neighbours."""
    from peers.commands.model_arguments import home_named, learned_at, model_named

    home = home_named(model)
    given = [learned_at(place.expanduser()) for place in places]
    if home is None:
        return model_named(model), [*given]
    config = load_config(home.config)
    merged = _neighbours(home, config) if neighbours else []
    return config.model, [learned_at(home.folder), *merged, *given]


def _neighbours(home: Home, config: PeerConfig) -> list[NeighbourAdapter]:
    """The neighbours' adapters of the last merge, by weight."""
    from gossipllm.model.adapter.snapshots import decode_snapshot
    from gossipllm.tasks.neighbours import NeighbourAdapter

    inputs = read_merge_inputs(home.state)
    if inputs is None:
        return []
    own, learner = decode_snapshot(inputs.snapshot.data), config.learner()
    return [
        NeighbourAdapter(escaped(one.name or one.peer), one.peer, one.update, own, learner)
        for one in sorted(inputs.members, key=lambda one: -one.weight)
    ]


def _replaced(config: ModelConfig, **given: Any) -> ModelConfig:
    return dataclasses.replace(config, **{name: value for name, value in given.items() if value is not None})
