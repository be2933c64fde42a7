"""The command `gossipllm init`: the home folder of a new peer."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from gossipllm.config import EMBEDDED, DataConfig, ModelConfig
from gossipllm.text.reading.account import TextAccount, shown
from gossipllm.text.reading.files import source_files
from peers.home.config import PeerConfig, SelfConfig
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
    "--all", "every", is_flag=True, help="Write every setting into peer.toml, not only the common ones."
)
def init(
    folder: Path, data: str, model: str, name: str | None, join: tuple[str, ...], listen: str, every: bool
) -> None:
    """Make DIR the home of a peer: a commented peer.toml and a new identity.

    Nothing is copied: PATH is read in place when the peer runs, and never leaves this device. It is read once now, to
    say what the peer will train on and what is left out (see also: gossipllm data show). DIR/peer.toml holds the
    settings that people change; `gossipllm config` lists and explains all others.

    PATH may hold .txt, .md, .csv, .tsv, .json, .jsonl and .parquet, with text, conversations or questions and answers.

    \b
    Examples:
      gossipllm init ~/.gossipllm --data ~/notes
      gossipllm init clinic --data letters.jsonl \\
        --model HuggingFaceTB/SmolLM2-135M
    """
    home = Home(folder)
    config = _new_config(data=data, model=model, name=name, join=join, listen=listen)
    check_new(home)
    source_files(config.data.path, "--data")
    _check_model(config.model.name)
    account = _examined(config)
    identity = make_home(home, config, every=every)
    click.echo(f"{folder}: home of peer {identity.peer_id} ({config.peer.name})")
    for line in () if account is None else account.lines():
        click.echo(line)
    click.echo(f"settings: {home.config}")
    click.echo(f"next: gossipllm run {shlex.quote(str(folder))}")


def _new_config(*, data: str, model: str, name: str | None, join: tuple[str, ...], listen: str) -> PeerConfig:
    folder = Path(model)
    if not data.strip():
        raise UserMistake("--data is empty; name a file or a folder (is a variable of the shell unset?)")
    for what, path in (("--data", data), ("--model", model)):
        if any("\ud800" <= character <= "\udfff" for character in path):
            raise UserMistake(
                f"{what}: the name {shown(path)} is not UTF-8 and cannot be written into peer.toml; rename it, or name "
                "the folder above it"
            )
    try:
        return PeerConfig(
            peer=SelfConfig(name=name or random_peer_name()),
            network=NetworkConfig(listen=listen, join=join),
            data=DataConfig(path=str(Path(data).expanduser().absolute())),
            model=ModelConfig(name=str(folder.absolute()) if folder.is_dir() else model),
        )
    except ValueError as error:
        raise UserMistake(str(error)) from None


def _check_model(name: str) -> None:
    """Raises `UserMistake` for a model folder that cannot be loaded, and says where a model has to be fetched."""
    from gossipllm.model.loading.files import check_model_folder
    from gossipllm.model.loading.hub import cached_folder

    if name == EMBEDDED:
        return
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_model_folder(folder, "--model")
    elif name.startswith(("/", ".", "~")):
        raise UserMistake(f"--model: there is no folder {name}")
    elif cached_folder(name) is None:
        click.echo(f"model: no folder {name} here; the first run asks the Hugging Face hub for it", err=True)


def _examined(config: PeerConfig) -> TextAccount | None:
    """What the peer will train on; None where its model, and so the tokenizer, is not on this device yet."""
    from gossipllm.model.loading.hub import cached_folder

    name = config.model.name
    if name != EMBEDDED and not Path(name).expanduser().is_dir() and cached_folder(name) is None:
        return None
    # Imported here, because it loads transformers: mistakes in the arguments are told at once.
    from gossipllm.model.loading.models import load_tokenizer
    from gossipllm.text.preflight import examined

    return examined(config.data, load_tokenizer(name, "--model"))
