"""Runs the peer of a home: puts together its state, learner, network and output, and ends it on a signal."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import trio

from gossipllm.device.energy import EnergyMeter
from peers.core.core import Core
from peers.core.events import PeerId
from peers.core.round.stages import Resting, Settled
from peers.home.automatic import Automatic
from peers.home.config import PeerConfig
from peers.home.folder import Home
from peers.home.merge_inputs import forget_merge_inputs
from peers.home.store import StateStore
from peers.identity import Identity, peer_id_of, verify
from peers.net.host import NetworkTraffic
from peers.net.libp2p_host import Libp2pNetwork, open_network
from peers.run.block_list import watch_block_list
from peers.run.choosing import adopted, choosing_for
from peers.run.costs import CostMeter
from peers.run.driver import Driver
from peers.run.learner.process import LearnerProcess
from peers.run.performer import Ending
from peers.run.printing.expecting import Expecting
from peers.run.printing.log_lines import set_up_log_lines
from peers.run.printing.output import Output
from peers.run.recording import RecordingWatcher
from peers.run.text_files import watch_text
from peers.run.trio_runner import run_async
from trust.errors import UserMistake
from trust.record.blocked import read_blocked
from trust.record.history import Note
from trust.record.segments import limits_of
from trust.record.writer import HistoryWriter

AT_REST_S: Final = 0.5
"""Seconds between two looks at whether a peer that is to end has come to rest."""


@dataclass(frozen=True, slots=True)
class DeviceKeys:
    """The core's `Keys`: signs with this device's identity, verifies any Ed25519 key."""

    identity: Identity

    @property
    def public_key(self) -> bytes:
        return self.identity.public_key

    @property
    def peer_id(self) -> PeerId:
        return self.identity.peer_id

    def sign(self, message: bytes) -> bytes:
        return self.identity.sign(message)

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        return verify(public_key, message, signature)

    def peer_id_of(self, public_key: bytes) -> PeerId:
        return peer_id_of(public_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How one run differs from the home's settings."""

    stop_with_stdin: bool = False
    """The end of standard input ends the peer: then it cannot outlive the program that started it."""

    ends: bool = False
    """The peer ends when its rounds are done or it has settled, instead of serving what it learned."""

    after_round: int | None = None
    """The last round that counts as announced: for a home that was restored from an older copy."""

    automatic: Automatic = field(default_factory=Automatic)
    """The settings that say "auto", and what was chosen for them before."""


def run_home(home: Home, config: PeerConfig, output: Output, options: RunOptions) -> Ending:
    """Run the peer until it is told to stop, or stops by itself.

    Raises `UserMistake` for what the user can repair. SIGINT and SIGTERM end the peer cleanly.
    """
    set_up_log_lines()
    home.check()
    with home.locked(), _deaf_to_hangups():
        home.close_to_others()
        return run_async(_run, home, config, output, options)


async def _run(home: Home, config: PeerConfig, output: Output, options: RunOptions) -> Ending:
    identity, store, writer = _opened(home, config, options)
    found = store.load()
    ending = Ending(0, "stopped")
    with writer as history:
        learning = LearnerProcess(home.learner_log)
        watcher = RecordingWatcher(
            history,
            output,
            path=home.history,
            me=identity.peer_id,
            expecting=Expecting(identity.peer_id, rounds=config.round.rounds),
            costs=CostMeter(EnergyMeter(watts=config.device.watts), lambda: learning.used),
        )

        def warn(text: str) -> None:
            note = Note(peer=identity.peer_id, level="warning", text=text[:500])
            watcher.report(note, NetworkTraffic(sent={}, received={}))

        for text in found.notes:
            warn(text)
        automatic = options.automatic
        core_config = replace(config.core(), choosing=choosing_for(automatic, config))
        core = Core(core_config, DeviceKeys(identity), found.saved)
        adopt = partial(adopted, home.choice, automatic, warn)
        driver = Driver(core, learning=learning, keeper=store, watcher=watcher, adopt=adopt)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
            nursery.start_soon(watch_block_list, home.folder, driver.block, warn)
            nursery.start_soon(watch_text, config.data.path, driver.text_changed)
            if options.stop_with_stdin:
                nursery.start_soon(_stop_with_stdin, nursery.cancel_scope)
            async with open_network(identity, driver, config.network, book=home.addresses) as network:
                output.listening(identity.peer_id, network.addresses)
                nursery.start_soon(_show_status, network, watcher)
                if options.ends:
                    nursery.start_soon(_stop_at_rest, core, nursery.cancel_scope)
                ending = await driver.run(network)
            nursery.cancel_scope.cancel()
    return ending


def _opened(
    home: Home, config: PeerConfig, options: RunOptions
) -> tuple[Identity, StateStore, HistoryWriter]:
    """The files of the home. Raises `UserMistake` for files that are foreign, unsafe or cannot be written."""
    try:
        identity = Identity.load(home.identity)
        # While the peer runs, a list that cannot be read leaves the one before in force; at its start there is none.
        read_blocked(home.folder)
        if not config.peer.keep_neighbours:
            forget_merge_inputs(home.state)
        store = StateStore(home.state)
        if options.after_round is not None:
            store.go_on_after(options.after_round)
        return (
            identity,
            store,
            HistoryWriter(
                home.history,
                peer=identity.peer_id,
                now=time.time(),
                limits=limits_of(config.peer.history_mb),
            ),
        )
    except OSError as error:
        raise UserMistake(f"{error.filename or home.folder}: {error.strerror}") from None
    except UserMistake:
        raise
    except ValueError as error:
        raise UserMistake(str(error)) from None


@contextlib.contextmanager
def _deaf_to_hangups() -> Generator[None]:
    """A terminal that is closed does not end the peer, nor its learner, which inherits this."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(hangup, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(hangup, before)


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def _stop_with_stdin(scope: trio.CancelScope) -> None:
    async with trio.lowlevel.FdStream(sys.stdin.fileno()) as stream:
        while await stream.receive_some(4096):
            """Input has no meaning; only its end has."""
    scope.cancel()


async def _stop_at_rest(core: Core, scope: trio.CancelScope) -> None:
    """End the peer when it has nothing to do any more. Its last state is saved as it ends."""
    while not isinstance(core.stage, Resting | Settled):  # noqa: ASYNC110  the core has no event for it
        await trio.sleep(AT_REST_S)
    scope.cancel()


async def _show_status(network: Libp2pNetwork, watcher: RecordingWatcher) -> None:
    while True:
        watcher.status(len(network.neighbours()), network.traffic())
        await trio.sleep(1)
