"""What strangers, and damaged disks, can give to this program: for each decoder a function of any bytes, and seeds.

A target returns for every input, or it has found a fault: whatever a decoder may raise by contract is caught here, and
what it returns must hold what it promises. `fuzz.py` runs them under atheris, `test_corpus.py` over the corpus.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import trio
from google.protobuf.message import DecodeError
from libp2p.pubsub.pb import rpc_pb2

from peers.core.saved import Saved, beginning
from peers.home.sealed import sealed
from peers.home.store import StateStore
from peers.net.addresses import parse_listen_address, parse_multiaddress
from peers.net.finding.book_file import read_book
from peers.net.gossip.control import MAX_ID_BYTES, MAX_IDS, relevant_control
from peers.net.limits.believable import believed_from, is_dialled
from peers.net.limits.faults import ProtocolFault
from peers.net.streams.exchange import answer, with_observed
from support.wire_frames import fingerprints, make_announcement, make_greeting, make_reply
from trust.errors import UserMistake
from wire.codec import (
    decode_announcement,
    decode_greeting,
    decode_reply,
    encode_announcement,
    encode_greeting,
    encode_reply,
)
from wire.deflate import Inflating, deflated
from wire.digest import digest_of
from wire.errors import WireError
from wire.importance import decode_importance
from wire.messages import ANNOUNCE_TOPIC
from wire.predictions.byte_rows import ByteRows, ByteShape, decode_byte_rows, encode_byte_rows
from wire.predictions.logits import (
    LogitRows,
    RowsShape,
    SparseRows,
    decode_logits,
    decode_rows,
    encode_logits,
    encode_rows,
)
from wire.pull import decode_pull_request, decode_pull_response
from wire.updates.packed_updates import pack_update, unpack_update
from wire.updates.packing import OnSteps
from wire.updates.units import Schema, Unit, decode_offered, encode_offered

BYTES = ByteShape(offsets=20, spans=3)
ROWS, RAW = RowsShape(4, 3, 1_000), RowsShape(4, 3, 100_000, raw=True)
CODED = replace(ROWS, coded=True)
SCHEMA = Schema(
    tuple(Unit(f"u{at}", at, ((f"u{at}.a", (0, 3)), (f"u{at}.b", (2, 0)))) for at in range(11)), "bf16"
)
PEER = "12D3KooWGatU9DChcpgmYwcBDrkdQcgHUJU8mTLtUKdQ8kcCGPg3"
REMOTES = ("127.0.0.1", "192.168.1.5", "93.184.216.34", "fd12:3456:789a:1::5", "fe80::1%eth0", None)
_MAGIC = b"GLSTATE1"


@dataclass(frozen=True)
class Target:
    """`run` takes any bytes; `seeds` are inputs that get far."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def announcement(data: bytes) -> None:
    with suppress(WireError):
        frame = decode_announcement(data)
        signature, payload = frame.signature, frame.payload
        assert encode_announcement(frame.announcement, lambda _: signature, payload=payload) == data


def greeting(data: bytes) -> None:
    with suppress(WireError):
        assert encode_greeting(decode_greeting(data)) == data


def reply(data: bytes) -> None:
    with suppress(WireError):
        assert encode_reply(decode_reply(data)) == data


def evidence(data: bytes) -> None:
    with suppress(WireError):
        rows = decode_rows(data, ROWS)
        assert np.isfinite(rows.logp_RK).all()
        assert (rows.ids_RK < ROWS.vocabulary).all()
    # As it is, and as the lists that are deflated.
    for blob in (data, data[:4] + deflated(data[4:])):
        with suppress(WireError):
            rows = decode_rows(blob, CODED)
            np.testing.assert_allclose(np.exp(rows.logp_RK).sum(axis=1) + rows.tail_R, 1, atol=1e-5)
            assert (rows.ids_RK[:, 1:] > rows.ids_RK[:, :-1]).all()
            assert (rows.ids_RK < CODED.vocabulary).all()
    with suppress(WireError):
        raw = decode_logits(data, RAW)
        assert np.isfinite(raw.logits_RK).all()
        assert (raw.ids_RK < RAW.vocabulary).all()


def byte_rows(data: bytes) -> None:
    with suppress(WireError):
        assert encode_byte_rows(decode_byte_rows(data, BYTES), BYTES) == data


def update(data: bytes) -> None:
    with suppress(WireError):
        offer, tensors = decode_offered(data, SCHEMA)
        assert SCHEMA.size(offer) == len(data)
        assert all(np.isfinite(tensor).all() for tensor in tensors.values())
    with suppress(WireError):
        decode_importance(data, len(SCHEMA.units))


def packed_update(data: bytes) -> None:
    """The first byte says of which offer, and whether there is a base."""
    offer = SCHEMA.offer(range(1 + data[0] % 11) if data else [0], 2)
    base = _some_update() if data[:1] >= b"\x80" else None
    with suppress(WireError):
        whole = unpack_update(data[1:], SCHEMA, offer, base)
        assert decode_offered(whole, SCHEMA)[0] == offer


def pull(data: bytes) -> None:
    with suppress(WireError):
        assert decode_pull_request(data).offset >= 0
    with suppress(WireError):
        decode_pull_response(data)


def control(data: bytes) -> None:
    """Gossip's control messages, as a frame on the wire."""
    rpc = rpc_pb2.RPC()
    try:
        rpc.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError):
        return
    relevant, found = relevant_control(rpc.control, ANNOUNCE_TOPIC)
    ids = [id_ for entry in (*relevant.ihave, *relevant.iwant) for id_ in entry.messageIDs]
    assert len(ids) <= 2 * MAX_IDS
    assert all(len(id_) <= MAX_ID_BYTES for id_ in ids)
    assert all(
        entry.topicID == ANNOUNCE_TOPIC for entry in (*relevant.graft, *relevant.prune, *relevant.ihave)
    )
    assert all(len(fault.why) < 100 for fault in found)


def addresses(data: bytes) -> None:
    """Text that names an address, and an answer to the question for peers."""
    text = data.decode("latin-1")
    with suppress(ValueError):
        parse_listen_address(text)
    with suppress(ValueError):
        address = parse_multiaddress(text)
        assert parse_multiaddress(str(address)) == address
        for remote in REMOTES:
            assert all(map(is_dialled, believed_from(remote, [address])))
            assert all(map(is_dialled, with_observed([address], remote)))
    with suppress(ProtocolFault, EOFError):
        trio.run(_asked, data)


async def _asked(data: bytes) -> None:
    claimed = await answer(_Canned(data), PEER, [], deadline_s=1.0)  # type: ignore[arg-type] # only what it uses
    assert all(address.peer == PEER for address in claimed)


class _Canned:
    """As much of a stream as the exchange of addresses needs."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, n: int) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._data:
            raise EOFError
        data, self._data = self._data[:n], self._data[n:]
        return data

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()


def saved_state(data: bytes) -> None:
    """A state file with these bytes, once as they are and once under a checksum that holds; and an address book."""
    for content in (data, _MAGIC + digest_of(data) + data):
        with tempfile.TemporaryDirectory(prefix="gossipllm-fuzz-") as folder:
            (Path(folder) / "state.0").write_bytes(content)
            with suppress(UserMistake):
                found = StateStore.look(Path(folder))
                assert found.saved is None or isinstance(found.saved, Saved)
            (Path(folder) / "book").write_bytes(content)
            assert all(
                parse_multiaddress(str(address)) == address for address in read_book(Path(folder) / "book")
            )


def _body(pieces: list[bytes]) -> bytes:
    return b"".join(pieces[2:])


def _some_logits() -> bytes:
    ids = np.arange(12, dtype=np.uint32).reshape(4, 3)
    return encode_logits(LogitRows(ids, np.ones((4, 3), np.float32)), RAW)


def _some_update() -> bytes:
    offer = SCHEMA.offer([3], 2)
    tensors = {spec.name: np.ones(spec.shape, np.float32) for spec in SCHEMA.layout(offer).tensors}
    return encode_offered(tensors, SCHEMA, offer)


def _rpc(**parts: list[object]) -> bytes:
    return rpc_pb2.RPC(control=rpc_pb2.ControlMessage(**parts)).SerializeToString()  # type: ignore[arg-type]


def _one_byte_row() -> bytes:
    logp = np.full((1, BYTES.top), np.log(0.9 / BYTES.top), np.float32)
    ids = np.arange(BYTES.top, dtype=np.uint32)[None]
    spans = np.array([-3.0, np.nan, 0.0], np.float32)
    return encode_byte_rows(ByteRows(np.array([5]), ids, logp, np.full(1, 0.1, np.float32), spans), BYTES)


def _coded_rows() -> bytes:
    ids = np.array([[1, 20, 300], [1, 20, 999], [1, 300, 301], [20, 300, 998]], np.uint32)
    logp = np.log(np.tile(np.array([0.5, 0.25, 0.125], np.float32), (4, 1)))
    blob = encode_rows(SparseRows(ids, logp, np.full(4, 0.125, np.float32)), CODED)
    # Six tokens, five low bits of their ids, and their counts; twelve entries twice, and four tails.
    return blob[:4] + Inflating(blob[4:], "seed").read(6 + 5 + 6 + 12 + 12 + 4)


def _packed(base: bytes | None = None) -> bytes:
    """The update of zeros of all units, packed."""
    offer = SCHEMA.offer(range(11), 2)
    zeros = {spec.name: np.zeros(spec.shape, np.float32) for spec in SCHEMA.layout(offer).tensors}
    return pack_update(OnSteps(zeros, dict.fromkeys(zeros, -3)), SCHEMA, offer, base)


TARGETS: dict[str, Target] = {
    "announcement": Target(
        announcement, (encode_announcement(make_announcement(), lambda _: bytes(64), payload=b""),)
    ),
    "greeting": Target(greeting, (encode_greeting(make_greeting()),)),
    "reply": Target(reply, (encode_reply(make_reply(b"frame", b"other")),)),
    "byte-rows": Target(byte_rows, (_one_byte_row(),)),
    "evidence": Target(evidence, (bytes(ROWS.size), _some_logits(), _coded_rows())),
    "update": Target(update, (_some_update(), bytes(22))),
    "packed-update": Target(packed_update, (b"\x0a" + _packed(), b"\x8a" + _packed(_some_update()))),
    "pull": Target(pull, (bytes(40), bytes(9))),
    "control": Target(
        control,
        (
            _rpc(
                ihave=[rpc_pb2.ControlIHave(topicID=ANNOUNCE_TOPIC, messageIDs=[b"abc"])],
                graft=[rpc_pb2.ControlGraft(topicID=ANNOUNCE_TOPIC)],
                prune=[rpc_pb2.ControlPrune(topicID=ANNOUNCE_TOPIC, backoff=1)],
                iwant=[rpc_pb2.ControlIWant(messageIDs=[b"abc"])],
            ),
        ),
    ),
    "addresses": Target(
        addresses,
        (
            f"/ip4/192.168.1.5/tcp/4001/p2p/{PEER}".encode(),
            f"/ip6/2001:db8::1/tcp/4001/p2p/{PEER}".encode(),
            f"/dns4/peer.example.org/tcp/4001/p2p/{PEER}".encode(),
            f"/ip6/::ffff:10.0.0.1/tcp/4001/p2p/{PEER}".encode(),
            (len(PEER) + 26).to_bytes(2, "little") + f"/ip4/8.8.8.8/tcp/4001/p2p/{PEER}".encode(),
        ),
    ),
    "saved-state": Target(
        saved_state,
        (
            _body(sealed(beginning(fingerprints()), _MAGIC)[0]),
            b'{"v": 1, "peers": {"x": ["/ip4/1.2.3.4/tcp/1"]}}',
        ),
    ),
}
