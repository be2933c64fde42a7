"""The command `gossipllm vector project`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from gossipllm.projection.ways import OFFERED, Way
from peers.commands.vector.reading import read_vectors, weights_of
from trust.counting import counted
from trust.errors import UserMistake
from trust.progress import Done, Stages, progress_stages

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="VECTOR...", type=_FOLDER)
@click.option(
    "--onto", required=True, metavar="LARGE", help="The larger model: embedded, a folder, or a name."
)
@click.option("-o", "--out", required=True, metavar="OUT", type=_FOLDER, help="PEFT folder to write.")
@click.option(
    "-b", "--base", metavar="SMALL", help="The base of the vectors.  [default: the one that VECTOR names]"
)
@click.option("--way", type=click.Choice(OFFERED), default="ridge", show_default=True, help="See above.")
@click.option(
    "--text", metavar="FILE", type=_FILE, help="Text for ridge.  [default: the embedded reference text]"
)
@click.option("-w", "--weights", metavar="W,W", help="A weight for each VECTOR.  [default: 1 each]")
@click.option(
    "--eta",
    default="0.05",
    show_default=True,
    metavar="ETA",
    help="Length of the step; 1 is the vectors' own. Or auto: one for each kind of layer, chosen on --trust.",
)
@click.option(
    "--trust", metavar="FILE", type=_FILE, help="Text for --eta auto, as what the larger model should read."
)
@click.option(
    "--own",
    metavar="FILE",
    type=_FILE,
    help="Text that the larger model reads well: --eta auto takes no step that costs it more than 1 %.",
)
@click.option(
    "--lars",
    type=click.FloatRange(0, min_open=True),
    metavar="KAPPA",
    help="Steps of this share of a layer's norm, times eta.  [default: as long as the vectors]",
)
@click.option("--force", is_flag=True, help="Write into OUT although it is not empty.")
def project(
    paths: tuple[Path, ...],
    onto: str,
    out: Path,
    base: str | None,
    way: Way,
    text: Path | None,
    weights: str | None,
    eta: str,
    trust: Path | None,
    own: Path | None,
    lars: float | None,
    force: bool,
) -> None:
    """Carry vectors of a small model over to a larger one, as an adapter for that.

    Blocks are matched by depth, layers by name. The larger model must be as deep or deeper; its tokenizer may be
    another one. The mean of the vectors is written.

    \b
    ridge  linear maps between both models' hidden states on one text
    svd    the singular directions of both models' weights, without text

    What a map explains is said of text that was held out. It is no promise of a gain: where it was measured, the best
    step gave a small part of what training the larger model gives, and a long one did harm. With --eta auto, half of
    --trust chooses a step for each kind of layer, and the other half says what all of them do.

    \b
    Examples:
      gossipllm vector project phone/ --onto ~/models/large -o from-phone
      gossipllm vector project a/ --onto LARGE --eta auto --trust my.txt -o best
    """
    vectors = read_vectors(paths, "VECTOR")
    numbers = weights_of(weights, len(vectors))
    if min(numbers) < 0:
        raise UserMistake(f"--weights must not be below 0 here, got {weights!r}")
    length = _length(eta)
    if (length is None) != (trust is not None):
        raise UserMistake("--eta auto chooses steps on --trust FILE: give both, or neither")
    if own and trust is None:
        raise UserMistake("--own bounds the steps that --eta auto chooses: give --trust, too")
    if text and way != "ridge":
        raise UserMistake("--text is for --way ridge; svd takes none")
    small_name = base or next((one.base for one in vectors if one.base), "")
    if not small_name:
        raise UserMistake(f"{paths[0]} does not say what its base is; name it with --base")
    from transformers.utils.logging import disable_progress_bar

    from gossipllm.model.adapter.export import check_folder
    from gossipllm.projection.carrying import carried, models, texts_of
    from gossipllm.projection.projecting import Lars
    from gossipllm.projection.steps import chosen_steps, judging_windows, taken
    from gossipllm.text.reading.contents import read_text
    from gossipllm.vectors.folder import write_folder

    disable_progress_bar()
    check_folder(out, overwrite=force)
    texts = texts_of(text) if way == "ridge" else []
    judged = read_text(trust, "--trust") if trust else ""
    spared = read_text(own, "--own") if own else ""
    started = time.monotonic()
    small, large = models(small_name, onto, vectors)
    windows_WT = judging_windows(judged, large) if trust else None
    own_WT = judging_windows(spared, large, "--own") if own else None
    with progress_stages(Console(stderr=True)) as stages:
        result = carried(
            vectors,
            numbers,
            small,
            large,
            (small_name, onto),
            way=way,
            texts=texts,
            eta=1.0 if length is None else length,
            lars=None if lars is None else Lars(lars),
            on_progress=_shown(stages, "windows read with both models" if way == "ridge" else "layers"),
        )
        steps = None
        if windows_WT is not None:
            shown = _shown(stages, "steps tried")
            steps = chosen_steps(result.step, large, windows_WT, own_WT=own_WT, on_progress=shown)
    for line in (*result.told(), *(steps.told() if steps else ())):
        click.echo(line)
    step = taken(result.step, steps.etas) if steps else result.step
    formula = f"the mean of {', '.join(one.name for one in vectors)} of {small_name}, projected ({way})"
    write_folder(out, step, [result.vectors[0]], f"{formula}, eta {eta}", overwrite=force)
    click.echo(
        f"{out}: rank {step.rank} on {counted(len(step.products), 'layer')} of {onto}, "
        f"{time.monotonic() - started:.0f} s"
    )


def _length(eta: str) -> float | None:
    """The length of the step; None where it is to be chosen."""
    if eta == "auto":
        return None
    try:
        length = float(eta)
    except ValueError:
        raise UserMistake(f'--eta must be a number, or "auto", got {eta!r}') from None
    if not math.isfinite(length) or not length:
        raise UserMistake(f"--eta must be finite and not 0, got {length}")
    return length


def _shown(stages: Stages, what: str) -> Callable[[int, int], None]:
    """Shows the units done, of all, of which the first that is done tells the number."""
    done: list[Done] = []

    def show(_count: int, total: int) -> None:
        if not done:
            done.append(stages.begin(what, total))
        done[0](1)

    return show
