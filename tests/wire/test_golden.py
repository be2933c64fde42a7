"""The wire as it is, byte for byte: whoever changes these numbers changes the protocol and needs a new version.

The page for other implementations shows the same frame, and is read here so that it stays true.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from nacl.signing import SigningKey, VerifyKey

import wire
from wire import codec, logits, messages
from wire.codec import decode_announcement, encode_announcement
from wire.digest import NO_DIGEST, digest_of, fingerprint_of
from wire.logits import (
    LogitRows,
    RowsShape,
    SparseRows,
    decode_logits,
    decode_rows,
    encode_logits,
    encode_rows,
)
from wire.messages import Announcement, BlobRef, Fingerprints, Greeting, Reply, network_id
from wire.tensors import Layout, TensorSpec, decode_update, encode_update

PAGE = Path(wire.__file__).with_name("PROTOCOL.md").read_text(encoding="utf-8")

KEY = SigningKey(bytes(range(32)))
LAYOUT = Layout((TensorSpec("m.lora_A", (1, 2)), TensorSpec("m.lora_B", (2, 1))))
SHAPE = RowsShape(rows=2, top=2, vocabulary=5)

LAYOUT_FINGERPRINT = "fc8bc6c69880ff4cf6cf8ae642c3fa40fc360f754ebb4948a7533716ae7177ff"
UPDATE = "803f00c0003f0000"
EVIDENCE = "000003000100040031bfb1bf05c093be803e003e"
DIGEST = "48f30b373bbda363c964c72776d78d12331905248dd21758efde8c8ee77e78df"
FRAME = (
    "474c4131eb018ea17601a36e6574c4201ef9d9e86f53b68bde62e04c66315e8621536729566de2958a01ec88d4482b48"
    "ac66696e6765727072696e747384a462617365c420111111111111111111111111111111111111111111111111111111"
    "1111111111a9746f6b656e697a6572c4202222222222222222222222222222222222222222222222222222222222222222"
    "a97265666572656e6365c420e6a22b74ba6ab9a332d0c29a7ae2d6c5ec662b724e8baecb819efb9aa80ac209a66c61796f"
    "7574c420d4ce0451d85b641ad313483e5e227446be2cf799d39aad11867eb3a48348b848a6617574686f72c42003a107bf"
    "f3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8a46e616d65a3616e6ea5726f756e6407a870726576"
    "696f7573c4200000000000000000000000000000000000000000000000000000000000000000a675706461746582a66469"
    "67657374c4208c2c6a65c7c224cc1521e4272dd00b0b47a70a11dc5819e2e193ed41207fef58a473697a6508a865766964"
    "656e636582a6646967657374c420a8ffcab6b1e5d197007d1aff78cfbf308500980daf742a63e5821ffc7f9fac50a47369"
    "7a6514a6746f6b656e73cd03e8a773616d706c65730aa5737465707314ac6361706162696c697469657390a973656e745f"
    "61745f73ce6553f1000a44308abaf5fd1d53735d29d7b0adedf0b07993befbbeb045d719dd0945666d2ec8671ea8b51f20"
    "9a08b6e3f2555fb2ed193a19433ec0fd86a529b79a153f01000003000100040031bfb1bf05c093be803e003e"
)


def example() -> tuple[Announcement, bytes, bytes]:
    """The announcement, its update and its evidence, from the formulas of the page."""
    update = encode_update(
        {"m.lora_A": np.array([[1, -2]], np.float32), "m.lora_B": np.array([[0.5], [0]], np.float32)}, LAYOUT
    )
    evidence = encode_rows(
        SparseRows(
            np.array([[0, 3], [1, 4]], np.uint32),
            np.log(np.array([[0.5, 0.25], [0.125, 0.75]], np.float32)),
            np.array([0.25, 0.125], np.float32),
        ),
        SHAPE,
    )
    windows = np.array([[1, 2, 3]], "<u4").tobytes()
    fingerprints = Fingerprints(
        base=b"\x11" * 32,
        tokenizer=b"\x22" * 32,
        reference=fingerprint_of("gossipllm/reference/1", [b"1,3,2,5", windows]),
        layout=fingerprint_of("gossipllm/adapter/1", [LAYOUT.fingerprint, b"16.0", b"gossipllm"]),
    )
    announcement = Announcement(
        v=1,
        net=network_id("example", fingerprints),
        fingerprints=fingerprints,
        author=bytes(KEY.verify_key),
        name="ann",
        round=7,
        previous=NO_DIGEST,
        update=BlobRef(digest=digest_of(update), size=len(update)),
        evidence=BlobRef(digest=digest_of(evidence), size=len(evidence)),
        tokens=1000,
        samples=10,
        steps=20,
        capabilities=(),
        sent_at_s=1_700_000_000,
    )
    return announcement, update, evidence


def test_the_bytes_of_raw_logits_are_those_of_the_page() -> None:
    shape = RowsShape(rows=1, top=2, vocabulary=5, raw=True)
    logits = LogitRows(np.array([[0, 3]], np.uint32), np.array([[-31.5, -33.0]], np.float32))
    data = encode_logits(logits, shape)
    windows = np.array([[1, 2, 3]], "<u4").tobytes()
    reference = fingerprint_of("gossipllm/reference/1", [b"1,3,2,5,last", windows])

    assert data.hex() == "000003000000fcc1000004c2"
    assert decode_logits(data, shape).logits_RK.tolist() == [[-31.5, -33.0]]
    assert "`0000 0300 0000fcc1 000004c2`" in PAGE
    assert f"`{reference.hex()}`" in PAGE


def test_the_bytes_of_an_update_and_of_evidence() -> None:
    _, update, evidence = example()
    assert update.hex() == UPDATE
    assert evidence.hex() == EVIDENCE
    assert LAYOUT.fingerprint.hex() == LAYOUT_FINGERPRINT
    assert decode_update(update, LAYOUT)["m.lora_A"].tolist() == [[1.0, -2.0]]
    rows = decode_rows(evidence, SHAPE)
    assert rows.ids_RK.tolist() == [[0, 3], [1, 4]]
    assert rows.logp_RK[0, 0] == -0.69140625
    assert np.exp(rows.logp_RK).ravel().tolist() == pytest.approx([0.5, 0.25, 0.125, 0.75], rel=2.0**-8)
    assert rows.tail_R.tolist() == [0.25, 0.125]


def test_the_bytes_of_an_announcement() -> None:
    announcement, _, evidence = example()
    frame = encode_announcement(announcement, lambda message: KEY.sign(message).signature, payload=evidence)
    assert frame.hex() == FRAME
    decoded = decode_announcement(bytes.fromhex(FRAME))
    assert decoded.announcement == announcement
    assert decoded.payload == evidence
    assert decoded.digest.hex() == DIGEST
    context = b"gossipllm/announce/1\0"
    VerifyKey(announcement.author).verify(context + decoded.header, decoded.signature)


def test_the_page_shows_these_bytes() -> None:
    shown = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[-1]
    assert "".join(line.split(maxsplit=1)[0] for line in shown.splitlines()) == FRAME
    for number in (LAYOUT_FINGERPRINT, DIGEST, f"{len(FRAME) // 2} bytes"):
        assert number in PAGE
    assert " ".join(re.findall("....", UPDATE)) in PAGE


def test_the_limits_are_those_of_the_page() -> None:
    assert (codec.MAX_ANNOUNCEMENT_BYTES, codec.MAX_INLINE_BYTES) == (4_096, 32_768)
    assert (codec.MAX_GREETING_BYTES, codec.MAX_REPLY_BYTES) == (65_536, 262_144)
    assert (messages.MAX_KNOWN, messages.MAX_FRAMES) == (1_000, 48)
    assert messages.MAX_ROUND == messages.MAX_BLOB_BYTES == logits.MAX_VOCABULARY == 2**31 - 1
    assert (logits.MAX_ROWS, logits.MAX_TOP) == (65_536, 256)
    assert (logits.MIN_LOGP, logits.MASS_TOLERANCE) == (-10_000, 0.02)
    names = (messages.PROTOCOL, messages.ANNOUNCE_TOPIC, messages.KNOWN_PROTOCOL, messages.BLOB_PROTOCOL)
    assert names == ("gossipllm/1", "gossipllm/announce/1", "/gossipllm/known/1", "/gossipllm/blob/1")
    assert all(f"`{name}`" in PAGE for name in names)


def test_the_page_names_every_field() -> None:
    for message in (Announcement, Fingerprints, BlobRef, Greeting, Reply):
        for field in message.__struct_fields__:
            assert f"`{field}`" in PAGE
