"""Checks of a peer's home: is everything there, whole and private? Only reads; damaged files stay as they are."""

from __future__ import annotations

import fcntl
import os
import shlex
import stat

from peers.commands.doctor.findings import Finding, Findings
from peers.core.saved import Saved
from peers.home.automatic import Automatic
from peers.home.config import PeerConfig, load_automatic
from peers.home.folder import Home
from peers.home.store import Found, StateStore
from peers.identity import Identity
from trust.counting import counted
from trust.errors import UserMistake
from trust.expectation import told
from trust.record.history import Round
from trust.record.log import read_history


def config_of(home: Home) -> tuple[PeerConfig, Automatic] | Finding:
    try:
        home.check()
        return load_automatic(home.config)
    except UserMistake as error:
        return Finding("fail", "home", str(error), "correct it, or make a home with: gossipllm init DIR")


def identity_of(home: Home) -> Identity | Finding:
    try:
        return Identity.load(home.identity)
    except (OSError, ValueError) as error:
        return Finding("fail", "key", str(error), "restore it from a copy, or close it to others as it says")


def folder(home: Home) -> Findings:
    mode = stat.S_IMODE(home.folder.stat().st_mode)
    if mode & 0o077:
        yield Finding(
            "warn", "home", f"open to others (mode {mode:o})", f"chmod 700 {shlex.quote(str(home.folder))}"
        )
    else:
        yield Finding("ok", "home", f"{home.folder}, closed to others")


def lock(home: Home) -> Findings:
    holder = held_by(home)
    if holder:
        yield Finding("ok", "lock", f"held by the process with pid {holder}: the peer runs")
    else:
        yield Finding("ok", "lock", "free: the peer does not run")


def held_by(home: Home) -> str:
    """The pid of the process that uses the home; empty for none. Holds the lock only for a moment."""
    try:
        descriptor = os.open(home.folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        # A shared lock, so that two doctors do not block each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 32).decode("ascii", errors="replace").strip() or "unknown"
    finally:
        os.close(descriptor)
    return ""


def saved_of(home: Home) -> Found | UserMistake:
    """The state that was last saved, or why it cannot be read."""
    try:
        return StateStore.look(home.state)
    except UserMistake as error:
        return error


def state(found: Found | UserMistake) -> Findings:
    if isinstance(found, UserMistake):
        what, _, cure = str(found).partition(". ")
        yield Finding("fail", "state", what, cure or "restore the folder from a copy")
        return
    for note in found.notes:
        yield Finding("warn", "state", note, "nothing; the disk may be failing")
    yield Finding("ok", "state", _described(found.saved))


def history(home: Home) -> Findings:
    try:
        found = read_history(home.history)
    except FileNotFoundError:
        yield Finding("ok", "history", "none yet")
        return
    except OSError as error:
        yield Finding("fail", "history", f"cannot be read: {error.strerror}", f"look at {home.history}")
        return
    rounds = sum(isinstance(entry.record, Round) for entry in found.entries)
    value = f"{counted(len(found.entries), 'record')}, {counted(rounds, 'round')}"
    if not found.torn:
        yield Finding("ok", "history", f"{value}, whole")
    elif found.later:
        yield Finding("warn", "history", f"{value}; {found.why}", "go on with that later version")
    elif held_by(home):
        yield Finding("ok", "history", f"{value}; the last is being written")
    else:
        value += f"; then {found.torn:,} bytes that cannot be read"
        yield Finding("warn", "history", value, "the next run mends it")


def expectation(home: Home) -> Findings:
    """What its history says that this peer can expect of a network; nothing where it has done no round."""
    try:
        found = read_history(home.history)
    except OSError:
        return
    if sentence := told(entry.record for entry in found.entries):
        yield Finding("ok", "expect", sentence)


def _described(saved: Saved | None) -> str:
    if saved is None:
        return "none yet: the peer has not run"
    return f"whole: round {saved.round}, generation {saved.generation}"
