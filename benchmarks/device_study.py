"""Which settings serve unequal devices: the Pareto fronts of what a loss costs in tokens, time, energy and bytes.

    python benchmarks/device_study.py [--minutes 30] [--out FOLDER] [--axis batch=1,4 ...] [--target LOSS]

Local batch x learning rate x tokens of a round x schedule x outer optimiser x fleet, with the real learner through the
simulator. Fleets have one summed speed: equal devices, and speeds 1:2:4:8 whose rounds wait for the slowest, have steps
by speed, or go on by themselves. All read the same texts, so that no question of trust comes in, but with --apart.

The first cell sets the target, unless --target does: its loss at the end of the budget. Corners of the grid follow,
then what is next to the fronts, until nothing is missing or --minutes are over; a cell that has a file is not run
again. Seconds are virtual, joules are declared watts times working time, and bytes are all that was sent.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sim.experiments.processes.process_pool import Finished, TaskFailedError, perform_all
from sim.study.cells import CellResult, CellTask, scenario_of
from sim.study.course import loss_at
from sim.study.order import corners, middle, wanted
from sim.study.picture import draw
from sim.study.settings import Setting, chosen_axes
from sim.study.storing import all_kept, begin, keep
from sim.study.study import TEXTS, StudyConfig
from sim.study.table import axes_table, fronts_table, speed_table
from trust.errors import UserMistake


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results/device-study"))
    parser.add_argument("--minutes", type=float, default=30.0, help="after these no further cell begins")
    parser.add_argument(
        "--axis", action="append", default=[], metavar="AXIS=A,B", help="other values than all"
    )
    parser.add_argument(
        "--target", type=float, help="validation loss in nats a token  [default: the first cell's]"
    )
    parser.add_argument(
        "--data", action="append", metavar="PATH", help="text  [default: embedded fr, de, it]"
    )
    parser.add_argument("--apart", action="store_true", help="one text a device instead of shares of all")
    parser.add_argument("--model", default="embedded-small")
    parser.add_argument("--train", choices=("both", "all"), default="both", help="an adapter, or all weights")
    parser.add_argument("--budget", type=int, default=32_768, help="tokens of all devices together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    axes = chosen_axes(options.axis)
    try:
        study = StudyConfig(
            sources=tuple(options.data or TEXTS),
            apart=options.apart,
            train=options.train,
            model=options.model,
            budget=options.budget,
            seed=options.seed,
        )
        scenario_of(study, middle(axes))
    except ValueError as error:
        raise UserMistake(f"device study: {error}") from None
    out: Path = options.out
    begin(out, study)
    until = time.monotonic() + 60 * options.minutes
    measure(out, study, axes, options.target, until=until, jobs=options.jobs)
    cells = {one: cell for one, cell in all_kept(out).items() if _within(one, axes)}
    first = cells.get(middle(axes))
    target = options.target or (first and loss_at(first.course, study.budget))
    if not target:
        print("the first cell has no result yet: run on with more --minutes")
        return
    print(f"{len(cells)} cells, seed {study.seed}; costs to a validation loss of {target:.3f}\n")
    for table in (
        fronts_table(cells, study, target),
        speed_table(cells, study, target),
        axes_table(cells, axes, target),
    ):
        print("\n".join(table), end="\n\n")
    draw(cells, target, out / "fronts.png")
    print(f"picture: {out / 'fronts.png'}")


def measure(
    out: Path,
    study: StudyConfig,
    axes: Mapping[str, Sequence[Any]],
    target: float | None,
    *,
    until: float,
    jobs: int,
) -> None:
    """Run cells that are missing, until none is or the time is over."""
    first = middle(axes)
    while time.monotonic() < until:
        cells = {one: cell for one, cell in all_kept(out).items() if _within(one, axes)}
        missing = [one for one in (first, *corners(axes)) if one not in cells]
        if not missing:
            loss = target or loss_at(cells[first].course, study.budget)
            if loss is None:
                raise UserMistake(f"{first.name} never trained on the whole budget: give --target")
            missing = wanted(cells, axes, target=loss, budget=study.budget)
        if not missing:
            return
        _run(out, study, list(dict.fromkeys(missing)), until=until, jobs=jobs)


def _run(out: Path, study: StudyConfig, missing: list[Setting], *, until: float, jobs: int) -> None:
    tasks = [CellTask(study, one) for one in missing]
    with closing(perform_all("sim.study.cells:perform", tasks, jobs=jobs)) as progress:
        for news in progress:
            if isinstance(news, Finished):
                result: CellResult = news.result
                keep(out, missing[news.task], result)
                print(f"{missing[news.task].name}: {result.course[-1].loss:.3f}", flush=True)
                # The worker of this cell has no next one yet; with more --jobs, cells in progress are given up.
                if time.monotonic() > until:
                    return


def _within(setting: Setting, axes: Mapping[str, Sequence[Any]]) -> bool:
    return all(getattr(setting, axis) in values for axis, values in axes.items())


if __name__ == "__main__":
    try:
        main()
    except UserMistake as error:
        raise SystemExit(f"Error: {error}") from None
    except TaskFailedError as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
