"""`gossipllm init`, `run` and `export`: one peer on this device. Heavy imports wait until a command runs."""

from __future__ import annotations

import dataclasses
import socket
import sys
from pathlib import Path

import click

from gossipllm.config import EMBEDDED, DataConfig, ModelConfig
from peers.home.config import PeerConfig, SelfConfig, load_config, write_config
from peers.home.folder import Home
from peers.net.config import NetworkConfig
from trust.errors import UserMistake

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--data", required=True, metavar="PATH", help="Your text: a .txt, a folder of .txt, or a .jsonl."
)
@click.option(
    "--model",
    default=EMBEDDED,
    show_default=True,
    metavar="NAME_OR_FOLDER",
    help="Base model: the embedded one, a folder, or a name on the Hugging Face hub.",
)
@click.option(
    "--name", metavar="TEXT", help="What others see beside this peer's id.  [default: this host's name]"
)
@click.option("--join", multiple=True, metavar="MULTIADDR", help="A peer to start from; may be repeated.")
@click.option("--listen", default=NetworkConfig().listen, show_default=True, metavar="MULTIADDR")
def init(folder: Path, data: str, model: str, name: str | None, join: tuple[str, ...], listen: str) -> None:
    """Make DIR the home of a peer: a commented peer.toml and a new identity.

    Nothing is copied: PATH is read where it lies, when the peer runs, and never leaves this device. Edit
    DIR/peer.toml afterwards; it says what each key does.

    \b
    Examples:
      gossipllm init ~/.gossipllm --data ~/notes
      gossipllm init clinic --data letters.jsonl --model HuggingFaceTB/SmolLM2-135M
    """
    from peers.identity import Identity

    home = Home(folder)
    config = _new_config(data=data, model=model, name=name, join=join, listen=listen)
    _check_data(config.data)
    if home.config.exists() or home.identity.exists():
        raise UserMistake(f"{folder}: is a peer's home already; run it with: gossipllm run {folder}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    identity = Identity.generate()
    identity.save(home.identity)
    write_config(home.config, config)
    click.echo(f"{folder}: home of peer {identity.peer_id} ({config.peer.name})")
    click.echo(f"settings: {home.config}")
    click.echo(f"next: gossipllm run {folder}")


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--join", multiple=True, metavar="MULTIADDR", help="A peer to start from, beside those in peer.toml."
)
@click.option("--rounds", type=click.IntRange(min=1), help="Stop training at this round; go on serving.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of text.")
@click.option(
    "--stop-with-stdin", is_flag=True, help="Stop when standard input ends, for programs that run peers."
)
def run(
    folder: Path, join: tuple[str, ...], rounds: int | None, as_json: bool, stop_with_stdin: bool
) -> None:
    """Run the peer whose home is DIR until Ctrl-C: train, gossip, weigh, merge.

    Prints the addresses at which others can join it. Alone it trains alone; neighbours may come and go at any
    time. Started again, it goes on where it was.

    \b
    Examples:
      gossipllm run ~/.gossipllm
      gossipllm run clinic --join /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...
    """
    from peers.run.command import run_home
    from peers.run.output import output_for

    home = Home(folder)
    home.check()
    config = load_config(home.config)
    try:
        network = dataclasses.replace(config.network, join=(*config.network.join, *join))
        limit = config.round if rounds is None else dataclasses.replace(config.round, rounds=rounds)
    except ValueError as error:
        raise UserMistake(f"--join: {error}") from None
    config = dataclasses.replace(config, network=network, round=limit)
    ending = run_home(home, config, output_for(as_json=as_json), stop_with_stdin=stop_with_stdin)
    if ending.code:
        click.echo(f"Error: {ending.why}", err=True)
    sys.exit(ending.code)


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("-o", "--out", required=True, metavar="OUT", type=_FOLDER, help="Folder to write.")
@click.option(
    "--merged", is_flag=True, help="Write the whole model, with what was learned added to its weights."
)
@click.option("--overwrite", is_flag=True, help="Write into OUT although it is not empty.")
def export(folder: Path, out: Path, merged: bool, overwrite: bool) -> None:
    """Write what the peer of DIR has learned as a PEFT adapter with a model card.

    OUT loads with PeftModel.from_pretrained(base, OUT) and needs nothing of gossipllm. Works while the peer
    runs: it takes the state that was last saved. With --merged, OUT is a model of its own, which
    AutoModelForCausalLM.from_pretrained(OUT) loads: what adapter.train = "full" or "bias" learned has no other form.

    \b
    Examples:
      gossipllm export ~/.gossipllm -o my-adapter
      gossipllm export ~/.gossipllm --merged -o my-model
    """
    from peers.home.store import StateStore

    home = Home(folder)
    home.check()
    found = StateStore.look(home.state)
    if found.saved is None or found.saved.snapshot is None:
        raise UserMistake(
            f"{folder}: nothing to export before the first round; run it with: gossipllm run {folder}"
        )
    names, row = _last_row(home)
    # The whole model takes torch, the adapter does not.
    if merged:
        from transformers.utils.logging import disable_progress_bar

        from gossipllm.model.adapter.merged_model import export_model as write

        disable_progress_bar()
    else:
        from gossipllm.model.adapter.export import export_adapter as write
    write(found.saved.snapshot.data, out, peers=names, row=row, overwrite=overwrite)
    for note in found.notes:
        click.echo(f"warning: {note}", err=True)
    click.echo(f"{out}: {'model' if merged else 'adapter'} after {found.saved.round} rounds")


def _new_config(*, data: str, model: str, name: str | None, join: tuple[str, ...], listen: str) -> PeerConfig:
    folder = Path(model)
    try:
        return PeerConfig(
            peer=SelfConfig(name=name or socket.gethostname()[:32] or "peer"),
            network=NetworkConfig(listen=listen, join=join),
            data=DataConfig(path=str(Path(data).expanduser().absolute())),
            model=ModelConfig(name=str(folder.absolute()) if folder.is_dir() else model),
        )
    except ValueError as error:
        raise UserMistake(str(error)) from None


def _check_data(config: DataConfig) -> None:
    from gossipllm.text.sources import source_files

    source_files(config.path)


def _last_row(home: Home) -> tuple[tuple[str, ...], dict[str, float]]:
    """Names of the neighbours that ever had a hundredth of the weight, and the last row by name.

    Where mass is pushed there is no row, and whoever was there when some was taken in has its part in it.
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
