"""What small models and one large model, none of which can merge with it, are worth to each other, by each way.

    python benchmarks/unequal_models.py --data PATH            every task whose files are in PATH; three seeds
    python benchmarks/unequal_models.py --data PATH --quick --seeds 0 --tasks text,translation

A small peer for each part of a task (a language, a pair of languages, a data set), and a large peer that reads English.
The rows:

    alone        every peer by itself
    distil       in one network; each takes steps toward the others' predictions on the public text after each round
    reftext      the same on the public text itself, toward its own next tokens: the dullest explanation of distil
    public       alone, and a quarter of what the large peer trains on is public text: what all of this is held against
    projection   alone, and the small peers' vectors carried over to the large model; the public text chooses the steps
    sum          alone, and each small peer takes the mean of all small peers' vectors (the large one can take none)
    all          distil, then projection; for the small peers distil, then sum
    bound        the large model trained alone on everybody's text, in as many steps

In distil, reftext and public half of what the large peer judges by is public text: one that judges by English alone
refuses everything else.

Small: the score of each small peer's model on its own part, a mean. Large: that of the large model on the same parts,
and the bits a byte of its own English text. Held-out files test, which nobody trains on. Sent: kB a peer and round.
Seconds and MB (peak) are those of a row's own process, with its measurements. Results are kept in --out, a file for
each row, and a row that is there is not computed again.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final, TypeAlias

from unequal_rows import Size, row
from unequal_tasks import TASKS, UnequalTask, missing

ROWS: Final = ("alone", "distil", "reftext", "public", "projection", "sum", "all", "bound")
"""In an order in which every row finds what it is made of."""

Result: TypeAlias = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of data sets; without, the embedded texts alone")
    parser.add_argument("--out", type=Path, default=Path("unequal-models"), help="folder of results")
    parser.add_argument("--tasks", default=",".join(TASKS), help="tasks, with commas between")
    parser.add_argument("--seeds", default="0,1,2", help="seeds, with commas between")
    parser.add_argument("--small", default="embedded-small", help="the small peers' model")
    parser.add_argument("--large", default="embedded", help="the large peer's model, with the same tokenizer")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and examples")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    args = parser.parse_args()
    tasks, seeds = args.tasks.split(","), [int(one) for one in args.seeds.split(",")]
    if unknown := sorted(set(tasks) - set(TASKS)):
        parser.error(f"--tasks: {', '.join(unknown)} is none of {', '.join(TASKS)}")
    if args.row:
        compute(args, tasks[0], seeds[0])
        return
    for name in tasks:
        if lacking := missing(TASKS[name], args.data):
            print(f"{name}: skipped, no {', '.join(lacking)} in {args.data or '--data'}", flush=True)
            continue
        for seed in seeds:
            for one in ROWS:
                run(args, name, seed, one)
        print("\n".join(("", f"### {name}", "", *table(args.out, name, TASKS[name], seeds), "")), flush=True)


def result_file(out: Path, task: str, seed: int, name: str) -> Path:
    return out / task / f"seed-{seed}" / f"{name}.json"


def run(args: argparse.Namespace, task: str, seed: int, name: str) -> None:
    """Compute a row in a process of its own, whose memory is then the row's."""
    if result_file(args.out, task, seed, name).exists():
        return
    command = [sys.executable, __file__, *sys.argv[1:], "--tasks", task, "--seeds", str(seed), "--row", name]
    started = time.monotonic()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{task}, seed {seed}, {name}: {done.stderr[-2000:]}")
    print(f"{task}, seed {seed}, {name}: {time.monotonic() - started:.0f} s", flush=True)


def compute(args: argparse.Namespace, task: str, seed: int) -> None:
    import torch

    torch.set_num_threads(1)
    started = time.monotonic()
    size = Size.quick() if args.quick else Size()
    file = result_file(args.out, task, seed, args.row)
    file.parent.mkdir(parents=True, exist_ok=True)
    models = args.small, args.large
    result: Result = row(args.row, TASKS[task], args.data, file.parent, models, seed=seed, size=size)
    result["seconds"] = time.monotonic() - started
    result["mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(file)


def table(out: Path, name: str, task: UnequalTask, seeds: Sequence[int]) -> Iterator[str]:
    results: dict[str, list[Result]] = {
        one: [json.loads(result_file(out, name, seed, one).read_text(encoding="utf-8")) for seed in seeds]
        for one in ROWS
    }
    more = "more" if task.better else "less"
    heads = (
        "row",
        f"small: {task.score}",
        f"large: {task.score}",
        "large: own bits a byte",
        "kB sent",
        "s",
        "MB",
    )
    yield f"{task.score}: {more} is better; seeds {', '.join(map(str, seeds))}"
    yield ""
    yield "| " + " | ".join(heads) + " |"
    yield "| --- |" + " ---: |" * (len(heads) - 1)
    for one, found in results.items():
        cells = (
            *(shown([each[key] for each in found], 3) for key in ("small", "large", "own")),
            *(shown([each[key] for each in found], 0) for key in ("kb", "seconds", "mb")),
        )
        yield f"| {one} | " + " | ".join(cells) + " |"
    for one, found in results.items():
        for whose in ("small", "large"):
            scores = [each["scores"][whose] for each in found]
            others = [other for other in scores[0] if other != task.score]
            if others:
                told = (f"{other} {shown([each[other] for each in scores], 3)}" for other in others)
                yield f"* {one}, {whose}: {', '.join(told)}"
    for what in sorted(
        {f"{key}: {value}" for each in results["alone"] for key, value in each["signatures"].items()}
    ):
        yield f"* {what}"
    for seed, each in zip(seeds, results["projection"], strict=True):
        yield f"* projection, seed {seed}: {each['steps']}"


def shown(values: Sequence[float | None], places: int) -> str:
    known = [one for one in values if one is not None]
    if not known:
        return "-"
    spread = f" ±{stdev(known):.{places}f}" if len(known) > 1 and places else ""
    return f"{mean(known):.{places}f}{spread}"


if __name__ == "__main__":
    main()
