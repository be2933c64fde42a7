"""A peer's home folder: its files, and the lock of the process that uses it.

    peer.toml         configuration, written by `gossipllm init`, edited by its owner
    chosen.json       what this device chose where peer.toml says "auto", and why (`automatic.py`)
    identity.key      Ed25519 private key (0600)
    history.msgpack   append-only record of rounds, rows, losses, bytes and refusals; older segments of a long one are
                      history-000001.msgpack and so on, up to peer.history_mb
    state/            two generations of the state that a crash must not lose (`store.py`), their larger contents in
                      files of their own (`contents.py`); and `company`, the inputs of the last merge
                      (`merge_inputs.py`): an adapter and at most round.most_partners updates, unless
                      peer.keep_neighbours is off
    addresses.json    addresses at which neighbours were last reached
    blocked.json      peers of which its owner wants nothing (`trust.record.blocked`), by `gossipllm trust block`
    learner.log       standard error of the learner's process
    lock              held while a process uses the folder; names its pid

The folder is 0700: it holds a private key and what was learned from private text.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from peers.home.automatic import CHOICE_FILE
from trust.errors import UserMistake
from trust.files import opened_private
from trust.record.history import HISTORY_FILE
from trust.record.segments import all_segments


@dataclass(frozen=True, slots=True)
class Home:
    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "peer.toml"

    @property
    def choice(self) -> Path:
        return self.folder / CHOICE_FILE

    @property
    def identity(self) -> Path:
        return self.folder / "identity.key"

    @property
    def history(self) -> Path:
        return self.folder / HISTORY_FILE

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def addresses(self) -> Path:
        return self.folder / "addresses.json"

    @property
    def learner_log(self) -> Path:
        return self.folder / "learner.log"

    def check(self) -> None:
        """Raises `UserMistake` unless this is a folder that `gossipllm init` made."""
        if not self.folder.is_dir():
            raise UserMistake(
                f"{self.folder}: no such folder; make it with: gossipllm init {shlex.quote(str(self.folder))}"
            )
        for path in (self.config, self.identity):
            if not path.is_file():
                raise UserMistake(f"{self.folder}: has no {path.name}, so it is not a peer's home folder")

    def close_to_others(self) -> None:
        """Take the rights of others from the files of this home, which earlier versions left readable."""
        private = (
            self.config,
            *all_segments(self.history),
            self.addresses,
            self.learner_log,
            *self.state.glob("*"),
        )
        for path in private:
            with suppress(OSError):
                mode = path.stat().st_mode & 0o777
                if mode & 0o077 and path.is_file():
                    path.chmod(mode & 0o700)

    @contextmanager
    def locked(self) -> Generator[None]:
        """Hold the folder for this process. Raises `UserMistake` naming the process that has it.

        The kernel releases the lock when the process ends, even by a kill, so no stale lock can remain.
        """
        path = self.folder / "lock"
        try:
            descriptor = opened_private(path, os.O_RDWR)
        except OSError as error:
            raise UserMistake(f"{path}: cannot be opened for writing ({error.strerror})") from None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
                raise UserMistake(
                    f"{self.folder}: in use by the process with pid {holder}; stop that one first"
                ) from None
            # The lock is held without it too, as on a full disk: it only serves the message above.
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()}\n".encode())
            yield
        finally:
            os.close(descriptor)
