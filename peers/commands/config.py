"""The command `gossipllm config`: the settings of a peer, and what each of them means."""

from __future__ import annotations

import difflib
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import click

from peers.home.automatic import Automatic
from peers.home.config import PeerConfig, load_automatic
from peers.home.folder import Home
from peers.home.settings import PeerSetting, marked, peer_settings, whole_toml
from trust.errors import UserMistake

_WIDTH = 98


@click.command()
@click.argument("words", nargs=-1, metavar="[DIR] [KEY]...")
@click.option(
    "--all", "every", is_flag=True, help="Print a whole peer.toml: every setting with its explanation."
)
def config(words: tuple[str, ...], every: bool) -> None:
    """Show the settings of the peer whose home is DIR, or the defaults.

    Without KEY, each setting has a line, and * marks those that differ from their defaults. With KEY, such as
    trust.strategy, or a table such as trust, it explains these settings: what they do, what they take, and where the
    default comes from.

    \b
    Examples:
      gossipllm config ~/.gossipllm
      gossipllm config trust.strategy
      gossipllm config ~/.gossipllm adapter
      gossipllm config --all | less
    """
    home, keys = _parsed(words)
    chosen, automatic = PeerConfig(), Automatic()
    if home is not None:
        home.check()
        chosen, automatic = load_automatic(home.config, noticed=partial(click.echo, err=True))
    if every and keys:
        raise UserMistake("--all prints every setting; leave out the keys, or --all")
    if every:
        click.echo(whole_toml(chosen, automatic.keys), nl=False)
    elif keys:
        named = _named(peer_settings(chosen), keys)
        click.echo("\n\n".join(_explained(setting, automatic) for setting in named))
    else:
        click.echo("\n".join(_lines(peer_settings(chosen), automatic)))


def _parsed(words: Sequence[str]) -> tuple[Home | None, Sequence[str]]:
    """A folder as the first word is a home; all other words are keys."""
    if words and (Path(words[0]).expanduser().is_dir() or "/" in words[0]):
        return Home(Path(words[0]).expanduser()), words[1:]
    return None, words


def _named(settings: Sequence[PeerSetting], keys: Sequence[str]) -> Iterator[PeerSetting]:
    """The settings that `keys` name, tables as well. Raises `UserMistake` for an unknown one."""
    for key in keys:
        found = [each for each in settings if key in (each.key, each.key.partition(".")[0])]
        if not found:
            raise UserMistake(f"{key}: neither a peer's home nor a setting{_hint(settings, key)}")
        yield from found


def _hint(settings: Sequence[PeerSetting], key: str) -> str:
    keys = [each.key for each in settings]
    # A user who writes only the last part of a key means the full one.
    same = [each for each in keys if each.partition(".")[2] == key]
    close = same or difflib.get_close_matches(key, keys, n=1)
    return f"; did you mean {' or '.join(close)}?" if close else "; list them with: gossipllm config"


def _explained(setting: PeerSetting, automatic: Automatic) -> str:
    default = "the default" if not setting.changed else f"default {setting.default}"
    if noted := automatic.noted(setting.key):
        default = f"{noted}; default {setting.default}"
    width = min(_WIDTH, shutil.get_terminal_size().columns)
    wrapped = partial(textwrap.wrap, width=width, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(
        [
            f"{setting.key} = {setting.value}  ({default})",
            *wrapped(marked(setting.key, setting.about)),
            *wrapped(f"Takes {setting.kind}."),
            *(wrapped(f"Chosen by: {automatic.why}.") if noted and automatic.why else ()),
        ]
    )


def _lines(settings: Sequence[PeerSetting], automatic: Automatic) -> Iterator[str]:
    for setting in settings:
        if noted := automatic.noted(setting.key):
            yield f"* {setting.key} = {setting.value}  ({noted}; default {setting.default})"
        elif setting.changed:
            yield f"* {setting.key} = {setting.value}  (default {setting.default})"
        elif not setting.hidden:
            yield f"  {setting.key} = {setting.value}"
