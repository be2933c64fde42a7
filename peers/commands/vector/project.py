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
    "--eta", type=float, default=0.05, show_default=True, help="Length of the step; 1 is the vectors' own."
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
    eta: float,
    lars: float | None,
    force: bool,
) -> None:
    """Carry vectors of a small model over to a larger one, as an adapter for that.

    Blocks are matched by depth, layers by name. The larger model must be as deep or deeper; its tokenizer may be
    another one. The mean of the vectors is written.

    \b
    ridge  linear maps between both models' hidden states on one text
    svd    the singular directions of both models' weights, without text

    What a map explains is said of text that was held out. It is no promise of a gain: in the one case that was
    measured, the best step gave a thirtieth of what training the larger model gives, and a long one did harm.
    Try several --eta, and measure each with gossipllm eval on text of your own.

    \b
    Examples:
      gossipllm vector project phone/ --onto ~/models/large -o from-phone
      gossipllm vector project a/ b/ --onto gpt2-medium --eta 0.3 -o both
    """
    vectors = read_vectors(paths, "VECTOR")
    numbers = weights_of(weights, len(vectors))
    if min(numbers) < 0:
        raise UserMistake(f"--weights must not be below 0 here, got {weights!r}")
    if not math.isfinite(eta) or not eta:
        raise UserMistake(f"--eta must be finite and not 0, got {eta}")
    if text and way != "ridge":
        raise UserMistake("--text is for --way ridge; svd takes none")
    small_name = base or next((one.base for one in vectors if one.base), "")
    if not small_name:
        raise UserMistake(f"{paths[0]} does not say what its base is; name it with --base")
    from transformers.utils.logging import disable_progress_bar

    from gossipllm.model.adapter.export import check_folder
    from gossipllm.projection.carrying import carried, models, texts_of
    from gossipllm.projection.projecting import Lars
    from gossipllm.vectors.folder import write_folder

    disable_progress_bar()
    check_folder(out, overwrite=force)
    texts = texts_of(text) if way == "ridge" else []
    started = time.monotonic()
    small, large = models(small_name, onto, vectors)
    with progress_stages(Console(stderr=True)) as stages:
        result = carried(
            vectors,
            numbers,
            small,
            large,
            (small_name, onto),
            way=way,
            texts=texts,
            eta=eta,
            lars=None if lars is None else Lars(lars),
            on_progress=_shown(stages, "windows read with both models" if way == "ridge" else "layers"),
        )
    formula = f"the mean of {', '.join(one.name for one in vectors)} of {small_name}, projected ({way})"
    write_folder(out, result.step, [result.vectors[0]], f"{formula}, eta {eta:g}", overwrite=force)
    for line in result.told():
        click.echo(line)
    click.echo(
        f"{out}: rank {result.step.rank} on {counted(len(result.step.products), 'layer')} of {onto}, "
        f"{time.monotonic() - started:.0f} s"
    )


def _shown(stages: Stages, what: str) -> Callable[[int, int], None]:
    """Shows the units done, of all, of which the first that is done tells the number."""
    done: list[Done] = []

    def show(_count: int, total: int) -> None:
        if not done:
            done.append(stages.begin(what, total))
        done[0](1)

    return show
