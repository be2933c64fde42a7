"""Golden vectors of the protocol, byte for byte. A change of these numbers is a new version of the protocol.

The page for other implementations shows the same frame, and is read here so that it stays true.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nacl.signing import SigningKey, VerifyKey

import wire
from wire import codec, importance, integers, messages
from wire.codec import decode_announcement, encode_announcement
from wire.digest import NO_DIGEST, digest_of, fingerprint_of
from wire.holders import MAX_HOLDS, PREFIX_BYTES, encode_holds
from wire.importance import decode_importance, encode_importance
from wire.messages import (
    Announcement,
    BlobRef,
    ContextRef,
    Fingerprints,
    Greeting,
    PackedRef,
    Reply,
    ShareRef,
    network_id,
)
from wire.predictions import byte_rows, logits
from wire.predictions.byte_rows import (
    MAX_BYTES,
    MAX_TOP,
    SYMBOLS,
    ByteRows,
    ByteShape,
    decode_byte_rows,
    encode_byte_rows,
)
from wire.predictions.coded_rows import STEPS, most_bytes
from wire.predictions.logits import (
    LogitRows,
    RowsShape,
    SparseRows,
    decode_logits,
    decode_rows,
    encode_logits,
    encode_rows,
)
from wire.updates import packing, units
from wire.updates.packed_updates import unpack_update
from wire.updates.units import Offer, Schema, Unit, decode_offered, encode_offered

PAGE = Path(wire.__file__).with_name("PROTOCOL.md").read_text(encoding="utf-8")

KEY = SigningKey(bytes(range(32)))
SCHEMA = Schema(
    (
        Unit("m", 0, (("m.lora_A", (0, 2)), ("m.lora_B", (2, 0)))),
        Unit("n", 1, (("n.lora_A", (0, 3)), ("n.lora_B", (1, 0)))),
    )
)
OFFER = SCHEMA.offer([0], 1)
IMPORTANCE = (0.75, None)
SHAPE = RowsShape(rows=2, top=2, vocabulary=5)

SCHEMA_FINGERPRINT = "5571dbe1f8ee7b9eddc79b32835ee97426b61fe4a378da5c11eda6618885525f"
UPDATE = "0100010001803f00c0003f0000"
KEY_FRAME = "ffff012b610200"
"""The update in packed form, with a step of one half. Only its decoding is fixed: deflate has many encodings."""
EVIDENCE = "000003000100040031bfb1bf05c093be803e003e"
IN_STEPS = (
    "040000006260606400000000ffff6260606000000000ffff6260646004000000ffff"
    "626560e007000000ffff626000000000ffff0300"
)
"""The same rows in steps. As of a key frame, only the decoding is fixed."""
DIGEST = "ae2dd462736e004dc88f7d444f3aef661022e3ffe25a234807e0f78106b13b00"
FRAME = (
    "474c41330603de0017a17603a36e6574c42003000000d118def1f35cb863df197bab1cad78b79a0160ab7cb5af82d83a9a"
    "82ac66696e6765727072696e747384a462617365c420111111111111111111111111111111111111111111111111111111"
    "1111111111a9746f6b656e697a6572c4202222222222222222222222222222222222222222222222222222222222222222"
    "a97265666572656e6365c420e6a22b74ba6ab9a332d0c29a7ae2d6c5ec662b724e8baecb819efb9aa80ac209a66c61796f"
    "7574c420948755f4aebea502b895152af2a8ac6235782a1b8f9996c966736de2aa7d38ada6617574686f72c42003a107bf"
    "f3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8a46e616d65a3616e6ea5726f756e6407a870726576"
    "696f7573c4200000000000000000000000000000000000000000000000000000000000000000a675706461746582a66469"
    "67657374c4200e2345a29213b3f8bd2eae32f8bb5a51ced59388137511e75a38ab08ec9af9b6a473697a650da56f666665"
    "729201c40101a67061636b65649192c4200000000000000000000000000000000000000000000000000000000000000000"
    "82a6646967657374c4205ede42637ef08ceb38fbdfc376b355512865f16fb62f44a89a05c42bc755f626a473697a6507a8"
    "65766964656e636582a6646967657374c420a8ffcab6b1e5d197007d1aff78cfbf308500980daf742a63e5821ffc7f9fac"
    "50a473697a6514a6746f6b656e73cd03e8a773616d706c65730aa5737465707314ac746f6b656e735f746f74616ccd1f40"
    "ad73616d706c65735f746f74616c50a8636170616369747964aa696d706f7274616e6365c4080000403f000080bfa67368"
    "6172657390a8636f6e74657874739192c42033333333333333333333333333333333333333333333333333333333333333"
    "3382a6646967657374c4204444444444444444444444444444444444444444444444444444444444444444a473697a65cd"
    "01f4a5686f6c6473c406555555666666ac6361706162696c697469657390a973656e745f61745f73ce6553f10085a0308a"
    "6e7af6aa14ae88d9a76c9e9bb41bcf9b29549a1e402cc3d15ee7e71c8855a4d84d91f97ad8c91f61f59939afb2fc46c139"
    "7be2359173d7bf149a980b000003000100040031bfb1bf05c093be803e003e"
)


def example() -> tuple[Announcement, bytes, bytes]:
    """The announcement, its update and its evidence, from the formulas of the page."""
    update = encode_offered(
        {"m.lora_A": np.array([[1, -2]], np.float32), "m.lora_B": np.array([[0.5], [0]], np.float32)},
        SCHEMA,
        OFFER,
    )
    evidence = encode_rows(
        SparseRows(
            np.array([[0, 3], [1, 4]], np.uint32),
            np.log(np.array([[0.5, 0.25], [0.125, 0.75]], np.float32)),
            np.array([0.25, 0.125], np.float32),
        ),
        SHAPE,
    )
    key_frame = bytes.fromhex(KEY_FRAME)
    windows = np.array([[1, 2, 3]], "<u4").tobytes()
    fingerprints = Fingerprints(
        base=b"\x11" * 32,
        tokenizer=b"\x22" * 32,
        reference=fingerprint_of("gossipllm/reference/1", [b"1,3,2,5", windows]),
        layout=fingerprint_of("gossipllm/adapter/2", [SCHEMA.fingerprint, b"16.0", b"gossipllm"]),
    )
    announcement = Announcement(
        v=3,
        net=network_id("example", fingerprints.reference),
        fingerprints=fingerprints,
        author=bytes(KEY.verify_key),
        name="ann",
        round=7,
        previous=NO_DIGEST,
        update=BlobRef(digest=digest_of(update), size=len(update)),
        offer=OFFER,
        packed=(PackedRef(base=NO_DIGEST, blob=BlobRef(digest=digest_of(key_frame), size=len(key_frame))),),
        evidence=BlobRef(digest=digest_of(evidence), size=len(evidence)),
        tokens=1000,
        samples=10,
        steps=20,
        tokens_total=8000,
        samples_total=80,
        capacity=100,
        importance=encode_importance(IMPORTANCE),
        shares=(),
        contexts=(ContextRef(key=b"\x33" * 32, blob=BlobRef(digest=b"\x44" * 32, size=500)),),
        holds=encode_holds((b"\x66" * 32, b"\x55" * 32)),
        capabilities=(),
        sent_at_s=1_700_000_000,
    )
    return announcement, update, evidence


def test_the_bytes_of_evidence_in_steps_are_those_of_the_protocol_page() -> None:
    shape = replace(SHAPE, coded=True)
    lists = ("00000100", "00000000", "00010001", "0500000f", "0000")
    blob = bytes.fromhex(IN_STEPS)

    assert zlib.decompress(blob[4:], wbits=-15).hex() == "".join(lists)
    assert f"`{blob[:4].hex()}` and, deflated,\n  `{' '.join(lists)}`, as\n  `{IN_STEPS}`" in PAGE
    exact, rows = decode_rows(bytes.fromhex(EVIDENCE), SHAPE), decode_rows(blob, shape)
    assert np.array_equal(rows.ids_RK, exact.ids_RK)
    assert rows.logp_RK == pytest.approx(exact.logp_RK, abs=1 / STEPS)
    assert decode_rows(encode_rows(exact, shape), shape).logp_RK.tolist() == rows.logp_RK.tolist()
    first = np.exp([0, 5 / 8, 0])
    assert [*np.exp(rows.logp_RK[0, ::-1]), rows.tail_R[0]] == pytest.approx(first / first.sum(), rel=1e-6)
    assert (logits.MAX_CODED, most_bytes(511, 8)) == (2**20, 1_024 + 16 * 511 * 8 + 2 * 511)


def test_the_bytes_of_raw_logits_are_those_of_the_protocol_page() -> None:
    shape = RowsShape(rows=1, top=2, vocabulary=5, raw=True)
    logits = LogitRows(np.array([[0, 3]], np.uint32), np.array([[-31.5, -33.0]], np.float32))
    data = encode_logits(logits, shape)
    windows = np.array([[1, 2, 3]], "<u4").tobytes()
    reference = fingerprint_of("gossipllm/reference/1", [b"1,3,2,5,last", windows])

    assert data.hex() == "000003000000fcc1000004c2"
    assert decode_logits(data, shape).logits_RK.tolist() == [[-31.5, -33.0]]
    assert "`0000 0300 0000fcc1 000004c2`" in PAGE
    assert f"`{reference.hex()}`" in PAGE


def test_the_bytes_of_byte_rows_are_those_of_the_protocol_page() -> None:
    shape = ByteShape(offsets=3, spans=1)
    symbols = [*range(ord("a"), ord("o") + 1), 256 + ord("t")]
    chances = np.array([[*(2.0**-n for n in range(1, 16)), 2.0**-15]], np.float32)
    data = encode_byte_rows(
        ByteRows(
            np.array([1]),
            np.array([symbols], np.uint32),
            np.log(chances),
            np.zeros(1, np.float32),
            np.array([-3.0], np.float32),
        ),
        shape,
    )
    pieces = (data[:1], data[1:33], data[33:49], data[49:50], data[50:])

    shown = [piece.hex() for piece in pieces]
    shown[1] = data[1:33].hex(" ", 2)
    assert f"`{shown[0]}` for the map,\n  `{shown[1]}` for the symbols, `{shown[2]}`" in PAGE
    assert f"`{shown[3]}` for the tail, `{shown[4]}` for the span" in PAGE
    decoded = decode_byte_rows(bytes.fromhex("".join(shown)), shape)
    assert decoded.at_R.tolist() == [1]
    assert decoded.ids_RK.tolist() == [symbols]
    assert np.exp(decoded.logp_RK) == pytest.approx(chances, rel=0.032)
    assert decoded.spans_S.tolist() == [-3.0]
    assert (MAX_BYTES, MAX_TOP, SYMBOLS, byte_rows.MASS_TOLERANCE) == (60_000, 16, 512, 0.04)


def test_the_bytes_of_an_update_and_of_evidence() -> None:
    _, update, evidence = example()
    assert update.hex() == UPDATE
    assert evidence.hex() == EVIDENCE
    assert SCHEMA.fingerprint.hex() == SCHEMA_FINGERPRINT
    offer, tensors = decode_offered(update, SCHEMA)
    assert offer == Offer(1, b"\1")
    assert tensors["m.lora_A"].tolist() == [[1.0, -2.0]]
    rows = decode_rows(evidence, SHAPE)
    assert rows.ids_RK.tolist() == [[0, 3], [1, 4]]
    assert rows.logp_RK[0, 0] == -0.69140625
    assert np.exp(rows.logp_RK).ravel().tolist() == pytest.approx([0.5, 0.25, 0.125, 0.75], rel=2.0**-8)
    assert rows.tail_R.tolist() == [0.25, 0.125]


def test_the_bytes_of_a_packed_update() -> None:
    data = bytes.fromhex(KEY_FRAME)
    assert unpack_update(data, SCHEMA, OFFER).hex() == UPDATE
    # The same differences, 2 -4 | 1 0, from this update give another one.
    doubled = unpack_update(data, SCHEMA, OFFER, bytes.fromhex(UPDATE))
    assert [value.ravel().tolist() for value in decode_offered(doubled, SCHEMA)[1].values()] == [
        [2, -4],
        [1, 0],
    ]
    assert f"`{' '.join((KEY_FRAME[:4], KEY_FRAME[4:6], KEY_FRAME[6:]))}`" in PAGE


def test_the_bytes_of_an_announcement() -> None:
    announcement, _, evidence = example()
    frame = encode_announcement(announcement, lambda message: KEY.sign(message).signature, payload=evidence)
    assert frame.hex() == FRAME
    decoded = decode_announcement(bytes.fromhex(FRAME))
    assert decoded.announcement == announcement
    assert decoded.payload == evidence
    assert decoded.digest.hex() == DIGEST
    assert decode_importance(decoded.announcement.importance, 2) == IMPORTANCE
    context = b"gossipllm/announce/3\0"
    VerifyKey(announcement.author).verify(context + decoded.header, decoded.signature)


def test_the_protocol_page_shows_these_bytes() -> None:
    shown = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[-1]
    assert "".join(line.split(maxsplit=1)[0] for line in shown.splitlines()) == FRAME
    for number in (SCHEMA_FINGERPRINT, DIGEST, f"{len(FRAME) // 2} bytes"):
        assert number in PAGE
    assert "`0100 0100 01 803f 00c0 003f 0000`" in PAGE


def test_the_limits_are_those_of_the_protocol_page() -> None:
    assert (codec.MAX_ANNOUNCEMENT_BYTES, codec.MAX_INLINE_BYTES) == (6_144, 32_768)
    assert (codec.MAX_GREETING_BYTES, codec.MAX_REPLY_BYTES) == (65_536, 262_144)
    assert (messages.MAX_KNOWN, messages.MAX_FRAMES) == (1_000, 42)
    assert (messages.MAX_SHARES, messages.MAX_CONTEXTS, messages.MAX_CAPACITY) == (8, 4, 1_000)
    assert (messages.MAX_PACKED, messages.MAX_CAPABILITIES) == (2, 12)
    assert (integers.MOST, integers.MAX_NUMBERS, packing.MAX_EXPONENT) == (32_767, 2**23, 120)
    assert (MAX_HOLDS, PREFIX_BYTES) == (32, 3)
    assert (units.MAX_RANK, units.MAX_UNITS, importance.MAX_LAYERS) == (256, 8_192, 256)
    assert messages.MAX_ROUND == messages.MAX_BLOB_BYTES == logits.MAX_VOCABULARY == 2**31 - 1
    assert (logits.MAX_ROWS, logits.MAX_TOP) == (65_536, 256)
    assert (logits.MIN_LOGP, logits.MASS_TOLERANCE) == (-10_000, 0.02)
    protocol = f"gossipllm/{messages.PROTOCOL_VERSION}"
    names = (protocol, messages.ANNOUNCE_TOPIC, messages.KNOWN_PROTOCOL, messages.BLOB_PROTOCOL)
    assert names == ("gossipllm/3", "gossipllm/announce/3", "/gossipllm/known/1", "/gossipllm/blob/1")
    assert all(f"`{name}`" in PAGE for name in names)


def test_the_protocol_page_names_every_field() -> None:
    for message in (
        Announcement,
        Fingerprints,
        BlobRef,
        ShareRef,
        PackedRef,
        ContextRef,
        Offer,
        Greeting,
        Reply,
    ):
        for field in message.__struct_fields__:
            assert f"`{field}`" in PAGE
