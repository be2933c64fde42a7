"""Is the planner's setting near the best of a grid, on texts and devices by which it was not fitted?

    python benchmarks/planner_cases.py [--minutes 30] [--out FOLDER] [--texts fr,de,FILE] [--model embedded-small]

One device trains alone, at each batch and rate of a grid, until it comes to the loss that batch 4 at 4e-3 reaches with
6,144 tokens. The curve of loss over steps is the same on all devices; the seconds of a step are those of four devices
on paper. The planner is then fitted again to all cases that share neither the text nor the device of the one that it is
held against, and what it chooses is compared with the best of that case's grid. A curve that has a file is not measured
again; --minutes ends the measurement between two curves.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from gossipllm.base import CORPORA, MODELS, corpus_file
from sim.experiments.processes.process_pool import Finished, TaskFailedError, perform_all
from sim.experiments.results import write_json
from sim.study.planner.cases import cases_of, held_out
from sim.study.planner.curves import Curve, CurvesTask, first_of, others_of
from sim.study.planner.table import cases_table, summary
from trust.errors import UserMistake

TEXTS = "fr,de,it,java,en"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results/planner-cases"))
    parser.add_argument("--minutes", type=float, default=30.0, help="after these no further batch begins")
    parser.add_argument("--texts", default=TEXTS, help="embedded texts, or files")
    parser.add_argument("--model", default="embedded-small")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    if options.model not in MODELS and not Path(options.model).is_dir():
        raise UserMistake(f"--model {options.model}: known are {', '.join(MODELS)} and folders")
    texts = [text_file(name) for name in options.texts.split(",")]
    out: Path = options.out / options.model.replace("/", "-")
    until = time.monotonic() + 60 * options.minutes
    targets: dict[str, float] = {}
    noises: dict[str, float] = {}
    known: list[Curve] = []
    for text in texts:
        first = first_of(text, options.model)
        measure([first], out, until=until, jobs=1)
        found = kept(out, first)
        if not found:
            break
        targets[found[0].text] = found[0].points[-1][1]
        noises[found[0].text] = found[0].noise_tokens
        others = others_of(first, found[0].points[-1][1])
        measure(others, out, until=until, jobs=options.jobs)
        known += [curve for one in others for curve in kept(out, one)]
    cases = cases_of(known, targets, noises)
    held = held_out(cases)
    print(f"{len(known)} curves, {len(cases)} cases; {options.model}, one seed")
    shown = ", ".join(f"{text} {tokens:,.0f}" for text, tokens in noises.items())
    print(f"noise scale at the start, tokens: {shown}\n")
    if not held:
        print("held-out cases need the whole grid of two texts: run on with more --minutes")
        return
    print("\n".join(cases_table(held)))
    print()
    print("\n".join(summary(held, cases)))


def text_file(name: str) -> str:
    """The file of an embedded text's name, or the file itself. Raises `UserMistake`."""
    if name in CORPORA:
        return str(corpus_file(name))
    if not Path(name).is_file():
        raise UserMistake(f"--texts: {name} is no file; embedded texts are {', '.join(CORPORA)}")
    return name


def measure(tasks: Sequence[CurvesTask], out: Path, *, until: float, jobs: int) -> None:
    missing = [one for one in tasks if not kept(out, one)]
    if not missing or time.monotonic() > until:
        return
    with closing(perform_all("sim.study.planner.curves:perform", missing, jobs=jobs)) as progress:
        for news in progress:
            if isinstance(news, Finished):
                task = missing[news.task]
                write_json(_file(out, task), news.result)
                ends = ", ".join(f"{one.rate:g}: {one.points[-1][0]}" for one in news.result)
                print(f"{task.name}: steps at rate {ends}", flush=True)
                if time.monotonic() > until:
                    return


def kept(out: Path, task: CurvesTask) -> tuple[Curve, ...]:
    """The curves of the task's file; none where it is missing or damaged."""
    try:
        return msgspec.json.decode(_file(out, task).read_bytes(), type=tuple[Curve, ...])
    except (OSError, msgspec.DecodeError):
        return ()


def _file(out: Path, task: CurvesTask) -> Path:
    return out / f"{task.name}.json"


if __name__ == "__main__":
    try:
        main()
    except UserMistake as error:
        raise SystemExit(f"Error: {error}") from None
    except TaskFailedError as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
