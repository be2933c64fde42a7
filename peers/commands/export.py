"""The command `gossipllm export`: what a peer learned, in PEFT's format or as a whole model."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from gossipllm.model.adapter.gguf import GGUF_TYPES, converter_command, export_gguf
from peers.home.folder import Home
from trust.counting import counted
from trust.errors import UserMistake

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("-o", "--out", metavar="OUT", type=_FOLDER, help="Folder to write.")
@click.option(
    "--merged", is_flag=True, help="Write the whole model, with what was learned added to its weights."
)
@click.option(
    "--gguf",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the whole model as a file for llama.cpp instead of a folder.",
)
@click.option(
    "--gguf-type",
    type=click.Choice(GGUF_TYPES),
    default="auto",
    show_default=True,
    help="Type of the weights in FILE.",
)
@click.option(
    "--converter",
    metavar="SCRIPT",
    type=click.Path(path_type=Path),
    help="llama.cpp's convert_hf_to_gguf.py, where it is not installed as a package.",
)
@click.option("--force", is_flag=True, help="Write into OUT although it is not empty, or over FILE.")
@click.option("--overwrite", is_flag=True, hidden=True, help="The earlier name of --force.")
def export(
    folder: Path,
    out: Path | None,
    merged: bool,
    gguf: Path | None,
    gguf_type: str,
    converter: Path | None,
    force: bool,
    overwrite: bool,
) -> None:
    """Write what the peer of DIR has learned as a PEFT adapter with a model card.

    This is its best state: the one of least loss on the text that it does not train on.
    OUT loads with PeftModel.from_pretrained(base, OUT) and needs nothing of gossipllm. Works while the peer
    runs: it takes what was last saved. With --merged, OUT is a model of its own, which
    AutoModelForCausalLM.from_pretrained(OUT) loads: what adapter.train = "full" or "bias" learned has no other form.
    With --gguf, llama.cpp's own converter makes one FILE of that model; it is installed with gossipllm[gguf].

    \b
    Examples:
      gossipllm export ~/.gossipllm -o my-adapter
      gossipllm export ~/.gossipllm --merged -o my-model
      gossipllm export ~/.gossipllm --gguf my-model.gguf --gguf-type q8_0
    """
    from gossipllm.model.adapter.export import rounds_of
    from gossipllm.model.adapter.snapshots import decode_snapshot
    from peers.home.store import StateStore

    if (out is None) == (gguf is None):
        raise UserMistake("export needs either a folder (-o OUT) or a file (--gguf FILE)")
    if gguf is not None:
        # Before the model is loaded, because that takes long.
        converter_command(converter)
    home = Home(folder)
    home.check()
    found = StateStore.look(home.state)
    best = None if found.saved is None else found.saved.best_snapshot
    if found.saved is None or best is None:
        raise UserMistake(
            f"{folder}: nothing to export before the first round; run it with: gossipllm run {shlex.quote(str(folder))}"
        )
    names, row = _last_row(home)
    # The whole model takes torch, the adapter does not.
    if merged or gguf is not None:
        from transformers.utils.logging import disable_progress_bar

        from gossipllm.model.adapter.merged_model import export_model as write

        disable_progress_bar()
    else:
        from gossipllm.model.adapter.export import export_adapter as write
    if gguf is not None:
        export_gguf(
            lambda place: write(best.data, place, peers=names, row=row),
            gguf,
            kind=gguf_type,
            script=converter,
            overwrite=force or overwrite,
        )
    else:
        assert out is not None, "one of the two is given"
        write(best.data, out, peers=names, row=row, overwrite=force or overwrite)
    for note in found.notes:
        click.echo(f"warning: {note}", err=True)
    what = "model" if merged or gguf is not None else "adapter"
    of = ", its best state" if found.saved.plateau.least else ""
    click.echo(f"{gguf or out}: {what} after {counted(rounds_of(decode_snapshot(best.data)), 'round')}{of}")


def _last_row(home: Home) -> tuple[tuple[str, ...], dict[str, float]]:
    """Names of the neighbours that ever had a hundredth of the weight, and the last row by name.

    With push-sum there is no row: every neighbour of a round in which shares were absorbed is named.
    """
    from trust.record.history import Begun, Round
    from trust.record.log import read_history

    if not home.history.exists():
        return (), {}
    records = [entry.record for entry in read_history(home.history).entries]
    own = next((one.name for one in reversed(records) if isinstance(one, Begun)), "self")
    rounds = [one for one in records if isinstance(one, Round)]
    names = dict.fromkeys(
        seen.name or seen.peer for one in rounds for seen in one.seen if seen.weight >= 0.01 or one.absorbed
    )
    if not rounds or any(one.absorbed for one in rounds):
        return tuple(names), {}
    row = {own: rounds[-1].self_weight}
    for seen in rounds[-1].seen:
        label = seen.name or seen.peer
        row[label if label not in row else f"{label} {seen.peer[-6:]}"] = seen.weight
    return tuple(names), row
