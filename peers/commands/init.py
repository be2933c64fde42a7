"""The command `gossipllm init`: the home folder of a new peer."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import get_args

import click

from gossipllm.config import EMBEDDED
from gossipllm.config.choices import Held
from gossipllm.device.plan.choice import AUTOMATIC
from gossipllm.text.reading.account import shown
from gossipllm.text.reading.files import source_files
from peers.commands.changes import change_of
from peers.commands.preflight import preflight
from peers.home.automatic import AUTO, automatic_in
from peers.home.config import PeerConfig, changed, config_of
from peers.home.folder import Home
from peers.home.making import check_new, make_home
from peers.home.peer_name import random_peer_name
from peers.net.config import NetworkConfig
from trust.errors import UserMistake

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--data", required=True, metavar="PATH", help="Your text: a file or a folder.")
@click.option(
    "--model",
    default=EMBEDDED,
    show_default=True,
    metavar="NAME_OR_FOLDER",
    help="Base model: the embedded one, a folder, or a name on the Hugging Face hub.",
)
@click.option(
    "--name", metavar="TEXT", help="What others see beside this peer's id.  [default: two random words]"
)
@click.option("--join", multiple=True, metavar="MULTIADDR", help="A peer to start from; may be repeated.")
@click.option("--listen", default=NetworkConfig().listen, show_default=True, metavar="MULTIADDR")
@click.option(
    "--adapter",
    default="",
    metavar="FOLDER",
    help="Start from this LoRA: a folder in PEFT's format, same base.",
)
@click.option("--rank", type=int, metavar="R", help="Rank of the adapter.  [default: 8]")
@click.option(
    "--held", type=click.Choice(get_args(Held)), help="Hold the frozen model in fewer bits.  [default: whole]"
)
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Any other setting; may be repeated."
)
@click.option(
    "--all", "every", is_flag=True, help="Write every setting into peer.toml, not only the common ones."
)
def init(
    folder: Path,
    data: str,
    model: str,
    name: str | None,
    join: tuple[str, ...],
    listen: str,
    adapter: str,
    rank: int | None,
    held: Held | None,
    changes: tuple[str, ...],
    every: bool,
) -> None:
    """Make DIR the home of a peer: a commented peer.toml and a new identity.

    Nothing is copied: PATH is read in place when the peer runs, and never leaves this device. It is examined now,
    without loading the model's weights: what the peer will train on and what is left out (see also: gossipllm data
    show), which layers it adapts, the memory and disk that training takes, and whether PEFT takes the export. What
    cannot work is refused here. DIR/peer.toml holds the settings that people change; `gossipllm config` lists and
    explains all others, which --set takes too.

    PATH may hold .txt, .md, .csv, .tsv, .json, .jsonl and .parquet, with text, conversations or questions and answers.

    \b
    Settings of LoRA that people change:
      adapter.rank, adapter.alpha, adapter.dropout
      adapter.scaling=rslora         alpha over the root of the rank
      adapter.modules='["q_proj"]'   or '["all-linear"]', the default
      training.batch_tokens=4096     a step by tokens, not by windows
      training.micro_windows=1       gradient accumulation
      layers.checkpoint=true         gradient checkpointing
      model.held=int4                the frozen model in 4 bits (QLoRA)

    \b
    Examples:
      gossipllm init ~/.gossipllm --data ~/notes
      gossipllm init clinic --data letters.jsonl \\
        --model HuggingFaceTB/SmolLM2-135M
      gossipllm init clinic --data letters.jsonl \\
        --adapter my-lora --held int4 --set adapter.scaling=rslora
    """
    home = Home(folder)
    given: dict[str, dict[str, object]] = {
        "peer": {"name": name or random_peer_name()},
        "network": {"listen": listen, "join": list(join)},
        "data": {"path": data},
        "model": {"name": model, **({"held": held} if held else {})},
        "adapter": {"warm_start": adapter, **({"rank": rank} if rank is not None else {})},
    }
    for key in AUTOMATIC:
        table, _, setting = key.partition(".")
        given.setdefault(table, {})[setting] = AUTO
    config, automatic = _new_config(given, changes)
    check_new(home)
    source_files(config.data.path, "--data")
    found = preflight(config, folder, key="--model")
    identity = make_home(home, config, every=every, automatic=automatic)
    click.echo(f"{folder}: home of peer {identity.peer_id} ({config.peer.name})")
    for line in found.lines():
        click.echo(line)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"settings: {home.config}")
    click.echo(f"next: gossipllm run {shlex.quote(str(folder))}")


def _new_config(
    given: dict[str, dict[str, object]], changes: tuple[str, ...]
) -> tuple[PeerConfig, tuple[str, ...]]:
    """The configuration of a new home, with all paths absolute, and the settings that say "auto"."""
    data, model, adapter = str(given["data"]["path"]), str(given["model"]["name"]), given["adapter"]
    if not data.strip():
        raise UserMistake("--data is empty; name a file or a folder (is a variable of the shell unset?)")
    for what, path in (("--data", data), ("--model", model), ("--adapter", str(adapter["warm_start"]))):
        if any("\ud800" <= character <= "\udfff" for character in path):
            raise UserMistake(
                f"{what}: the name {shown(path)} is not UTF-8 and cannot be written into peer.toml; rename it, or name "
                "the folder above it"
            )
    given["data"]["path"] = _absolute(data)
    given["model"]["name"] = _absolute(model) if Path(model).is_dir() else model
    adapter["warm_start"] = _absolute(str(adapter["warm_start"])) if adapter["warm_start"] else ""
    values = changed(given, map(change_of, changes))
    return config_of(values, ""), automatic_in(values).keys


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())
