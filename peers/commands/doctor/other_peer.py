"""Checks of another peer: can it be reached, has it the right key, and does a home of this device fit its network?"""

from __future__ import annotations

import socket
import time
from collections.abc import Generator
from typing import assert_never

import trio

from peers.commands.doctor.findings import Finding, Findings
from peers.core.others.connected.relation import CURES, FIELDS, OWN_FIELDS, mismatch, other_network
from peers.identity import Identity
from peers.net.addresses import Address, parse_multiaddress
from trust.names import escaped
from wire.codec import decode_greeting
from wire.digest import short
from wire.errors import WireError
from wire.messages import Fingerprints, Greeting, network_id


def reach(text: str, identity: Identity, *, deadline_s: float) -> Generator[Finding, None, Greeting | None]:
    """Reach the peer at the address `text` step by step, up to the first step that fails.

    Returns its greeting, or None if there was none that can be read.
    """
    until = time.monotonic() + deadline_s
    try:
        address = parse_multiaddress(text)
    except ValueError as error:
        yield Finding("fail", "address", str(error), "copy what the other's `gossipllm run` prints")
        return None
    connected = _connected(address, deadline_s)
    yield connected
    if connected.level == "fail":
        return None
    # libp2p takes a second to import, and only this needs it.
    from peers.commands.doctor.call import CallGreeted, CallMisspoke, CallRefused, CallSilent, call

    async def calling():  # noqa: ANN202  its type would need the import above
        return await call(identity, address, deadline_s=max(0.1, until - time.monotonic()))

    heard = trio.run(calling)
    if isinstance(heard, CallRefused):
        yield _refused(heard.why, impostor=heard.impostor)
        return None
    yield Finding("ok", "handshake", f"it is {address.peer}")
    match heard:
        case CallGreeted():
            return (yield from _understood(heard.data))
        case CallMisspoke():
            yield _nonsense(heard.why)
        case CallSilent():
            yield _silent(speaks=heard.speaks)
        case _:
            assert_never(heard)
    return None


def compared(theirs: Greeting, ours: Fingerprints, network: str) -> Findings:
    """In what the networks differ, with the cure, or one finding that they are one; then each field in which two peers
    of one network may differ, which keeps them from merging and is no failure."""
    prints, our_net = theirs.fingerprints, network_id(network, ours.reference)
    differs = other_network(theirs.net, prints, ours, name=network, our_net=our_net)
    if differs is not None:
        field, why = differs
        yield Finding("fail", field, why, CURES[field])
    else:
        yield Finding("ok", "fits", "this home and that peer are of one network")
    for name in OWN_FIELDS:
        different = mismatch(prints, ours, (name,))
        if different is not None:
            yield Finding("warn", name, f"{different[1]}: the two do not merge", CURES[name])


def _understood(data: bytes) -> Generator[Finding, None, Greeting | None]:
    try:
        theirs = decode_greeting(data)
    except WireError as error:
        yield _nonsense(str(error))
        return None
    prints = ", ".join(f"{name} {short(getattr(theirs.fingerprints, name))}" for name in FIELDS)
    # The last bytes, because the first are those of the version.
    yield Finding("ok", "network", f"{short(theirs.net[-4:])}: {prints}")
    return theirs


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
        return Finding("fail", "handshake", "another peer answers there", cure)
    cure = "is it a peer of gossipllm? It may also have banned this one"
    return Finding("fail", "handshake", f"failed ({escaped(why)})", cure)


def _nonsense(why: str) -> Finding:
    cure = "it runs another version of gossipllm, or is hostile"
    return Finding("fail", "greeting", f"cannot be read: {escaped(why)}", cure)


def _silent(*, speaks: bool) -> Finding:
    if speaks:
        cure = "it may be loading its model: try again in a minute"
        return Finding("warn", "greeting", "it does not say which network it is of", cure)
    cure = "it is no peer of gossipllm, or runs another version"
    return Finding("fail", "greeting", "it does not speak gossipllm's protocol", cure)
