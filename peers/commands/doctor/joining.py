"""Can this device reach a peer, is it the one that it should be, and would a home of ours fit into its network?"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import assert_never

import trio

from peers.commands.doctor.finding import Finding, Findings
from peers.core.others.greetings import CURES
from peers.identity import Identity
from peers.net.addresses import Address, parse_multiaddress
from trust.names import escaped
from wire.codec import decode_greeting
from wire.digest import short
from wire.errors import WireError
from wire.messages import Fingerprints, Greeting, network_id

FIELDS = ("base", "tokenizer", "reference", "layout")


@dataclass(slots=True)
class JoinCheck:
    """An attempt to reach `text`, and what came of it: `theirs`, once it has said of which network it is."""

    text: str
    deadline_s: float
    theirs: Greeting | None = None

    def reached(self, identity: Identity) -> Findings:
        """Step by step; the first that fails is the last."""
        until = time.monotonic() + self.deadline_s
        try:
            address = parse_multiaddress(self.text)
        except ValueError as error:
            yield Finding("fail", "address", str(error), "copy what the other's `gossipllm run` prints")
            return
        connected = _connected(address, self.deadline_s)
        yield connected
        if connected.level == "fail":
            return
        # libp2p takes a second to import, and only this needs it.
        from peers.commands.doctor.calling import CallGreeted, CallMisspoke, CallRefused, CallSilent, call

        async def calling():  # noqa: ANN202  its type would need the import above
            return await call(identity, address, deadline_s=max(0.1, until - time.monotonic()))

        heard = trio.run(calling)
        if isinstance(heard, CallRefused):
            yield _refused(heard.why, impostor=heard.impostor)
            return
        yield Finding("ok", "handshake", f"it is {address.peer}")
        match heard:
            case CallGreeted():
                yield self._understood(heard.data)
            case CallMisspoke():
                yield _nonsense(heard.why)
            case CallSilent():
                yield _silent(speaks=heard.speaks)
            case _:
                assert_never(heard)

    def _understood(self, data: bytes) -> Finding:
        try:
            self.theirs = decode_greeting(data)
        except WireError as error:
            return _nonsense(str(error))
        prints = ", ".join(f"{name} {short(getattr(self.theirs.fingerprints, name))}" for name in FIELDS)
        return Finding("ok", "network", f"{short(self.theirs.net)}: {prints}")


def compared(theirs: Greeting, ours: Fingerprints, network: str) -> Findings:
    """Each field in which the networks differ, with its cure, or one finding that they are one."""
    differ = False
    for name in FIELDS:
        their, our = getattr(theirs.fingerprints, name), getattr(ours, name)
        if their != our:
            differ = True
            yield Finding("fail", name, f"theirs {short(their)}, ours {short(our)}", CURES[name])
    if differ:
        return
    if theirs.net != network_id(network, ours):
        yield Finding("fail", "net", f"another network name than {network!r}", CURES["net"])
    else:
        yield Finding("ok", "fits", "this home and that peer are of one network")


def _connected(address: Address, deadline_s: float) -> Finding:
    _, _, host, _, port = address.transport.split("/")
    began = time.monotonic()
    try:
        with socket.create_connection((host, int(port)), timeout=deadline_s):
            pass
    except socket.gaierror as error:
        return Finding("fail", "connection", f"{host} has no address: {error.strerror}", "check the name")
    except TimeoutError:
        cure = "is that machine on, and does a firewall or router let this port through?"
        return Finding("fail", "connection", f"no answer from {host} port {port} in {deadline_s:g} s", cure)
    except ConnectionRefusedError:
        cure = "does the peer run there, and is this still its port? Its `gossipllm run` prints it"
        return Finding("fail", "connection", f"nothing listens at {host} port {port}", cure)
    except OSError as error:
        cure = "check the address and this device's network"
        return Finding("fail", "connection", f"{host} port {port}: {error.strerror or error}", cure)
    return Finding("ok", "connection", f"{host} port {port} in {1000 * (time.monotonic() - began):.0f} ms")


def _refused(why: str, *, impostor: bool) -> Finding:
    if impostor:
        cure = "copy the address again: the peer there has another key now"
        return Finding("fail", "handshake", "somebody else answers there", cure)
    cure = "is it a peer of gossipllm? It may also have banned this one"
    return Finding("fail", "handshake", f"it does not come about ({escaped(why)})", cure)


def _nonsense(why: str) -> Finding:
    cure = "it is of another version of gossipllm, or means no good"
    return Finding("fail", "greeting", f"what it says is none: {escaped(why)}", cure)


def _silent(*, speaks: bool) -> Finding:
    if speaks:
        cure = "it may be loading its model: try again in a minute"
        return Finding("warn", "greeting", "it says nothing of its network", cure)
    cure = "it is no peer of gossipllm, or of another version"
    return Finding("fail", "greeting", "it does not speak gossipllm's protocol", cure)
