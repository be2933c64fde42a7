"""Noise as py-libp2p speaks it, with fewer copies between socket and plaintext, and a check of the remote.

The handshake is the library's. The session after it is ours, because the library's copies each byte six
times and reads the socket at least twice for each record: here one buffered read of the socket yields
several records. Nothing changes on the wire.

A remote that proved its identity but is not welcome (banned), or for whose connection there is no place, is refused
before it can open a single stream.
"""

from __future__ import annotations

from collections.abc import Callable

from libp2p.abc import IRawConnection, ISecureConn
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as new_x25519_key
from libp2p.io.exceptions import ConnectionClosedError, IncompleteReadError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.exceptions import HandshakeFailure
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH, NoiseTransportReadWriter
from libp2p.security.noise.transport import Transport as Libp2pNoise
from libp2p.security.secure_session import SecureSession

from peers.net.host import PeerId
from peers.net.stack.tcp import READ_BYTES, Socket

_LENGTH_BYTES = 2
_Cipher = Callable[[None, memoryview], bytes]


class NoiseSession(SecureSession):
    """An established session. `read(n)` gives exactly `n` bytes or raises, as Yamux expects."""

    def __init__(self, established: SecureSession) -> None:
        reader_writer = established.conn
        assert isinstance(reader_writer, NoiseTransportReadWriter), "only Noise is offered"
        super().__init__(
            local_peer=established.local_peer,
            local_private_key=established.local_private_key,
            remote_peer=established.remote_peer,
            remote_permanent_pubkey=established.remote_permanent_pubkey,
            is_initiator=established.is_initiator,
            conn=reader_writer,
        )
        self._raw = reader_writer.read_writer.read_write_closer
        ciphers = reader_writer.noise_state.noise_protocol
        assert ciphers is not None, "the handshake is over"
        # Past the library's wrappers, which want `bytes` and so one more copy of each record.
        self._encrypt: _Cipher = ciphers.cipher_state_encrypt.encrypt_with_ad
        self._decrypt: _Cipher = ciphers.cipher_state_decrypt.decrypt_with_ad
        self._ciphertext = b""
        self._ciphertext_at = 0
        self._plaintext = b""
        self._plaintext_at = 0
        self._broken = False

    async def read(self, n: int | None = None) -> bytes:
        if n is None:
            n = max(1, len(self._plaintext) - self._plaintext_at)
        at = self._plaintext_at
        if len(self._plaintext) - at >= n:  # A Yamux frame is one record or two: the usual case.
            self._plaintext_at = at + n
            return self._plaintext[at : at + n]
        parts = [self._plaintext[at:]]
        missing = n - len(parts[0])
        self._plaintext, self._plaintext_at = b"", 0
        while missing > 0:
            record = await self._next_record(n, n - missing)
            parts.append(record[:missing])
            if len(record) > missing:
                self._plaintext, self._plaintext_at = record, missing
            missing -= len(parts[-1])
        return b"".join(parts)

    async def write(self, data: bytes) -> None:
        """One send for all records; encrypted and sent without a point at which to be cancelled between."""
        if self._broken:
            raise ConnectionClosedError("session is broken", transport="tcp")
        parts: list[bytes] = []
        view = memoryview(data)
        for start in range(0, len(data), MAX_PLAINTEXT_LENGTH):
            record = self._encrypt(None, view[start : start + MAX_PLAINTEXT_LENGTH])
            parts += (len(record).to_bytes(_LENGTH_BYTES, "big"), record)
        try:
            await self._raw.write(b"".join(parts))
        except BaseException:
            # A nonce is spent for a record that the remote may never see.
            self._broken = True
            raise

    def abort(self) -> None:
        """Close the socket below at once."""
        self._broken = True
        if self.socket is not None:
            self.socket.abort()

    @property
    def socket(self) -> Socket | None:
        """The socket below."""
        stream = self._raw.stream if isinstance(self._raw, RawConnection) else None
        return stream if isinstance(stream, Socket) else None

    async def _next_record(self, expected: int, received: int) -> bytes:
        if self._broken:
            raise ConnectionClosedError("session is broken", transport="tcp")
        await self._have(_LENGTH_BYTES, expected, received)
        at = self._ciphertext_at
        length = int.from_bytes(self._ciphertext[at : at + _LENGTH_BYTES], "big")
        await self._have(_LENGTH_BYTES + length, expected, received)
        start = self._ciphertext_at + _LENGTH_BYTES
        self._ciphertext_at = start + length
        try:
            return self._decrypt(None, memoryview(self._ciphertext)[start : start + length])
        except Exception:
            self._broken = True
            raise

    async def _have(self, needed: int, expected: int, received: int) -> None:
        """Have at least `needed` bytes of ciphertext at hand."""
        held = len(self._ciphertext) - self._ciphertext_at
        if held >= needed:
            return
        parts = [self._ciphertext[self._ciphertext_at :]]
        # What is read survives a cancelled read: the parts go back whatever happens.
        try:
            while held < needed:
                part = await self._raw.read(READ_BYTES)
                if not part:
                    raise IncompleteReadError(
                        f"closed after {received} of {expected} bytes", expected, received
                    )
                parts.append(part)
                held += len(part)
        finally:
            self._ciphertext, self._ciphertext_at = b"".join(parts), 0


class NoiseTransport(Libp2pNoise):
    """The library's Noise handshake, then `welcome` and `seat`, then our session."""

    def __init__(
        self,
        key_pair: KeyPair,
        *,
        welcome: Callable[[PeerId], bool],
        seat: Callable[[Socket, PeerId], bool],
        met_own_key: Callable[[Socket], None],
    ) -> None:
        """`welcome` says whether a peer may connect at all, `seat` whether there is a place for this connection.
        `met_own_key` is told of an inbound connection whose other end proved to have our own key."""
        super().__init__(key_pair, new_x25519_key().private_key)
        self._welcome = welcome
        self._seat = seat
        self._own = str(ID.from_pubkey(key_pair.public_key))
        self._met_own_key = met_own_key

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        established = await super().secure_inbound(conn)
        assert isinstance(established, SecureSession), "the Noise transport makes nothing else"
        if str(established.remote_peer) == self._own:
            socket = NoiseSession(established).socket
            if socket is not None:
                self._met_own_key(socket)
            raise HandshakeFailure("our own key")
        return self._admitted(established)

    async def secure_outbound(self, conn: IRawConnection, peer_id: ID) -> ISecureConn:
        return self._admitted(await super().secure_outbound(conn, peer_id))

    def _admitted(self, established: ISecureConn) -> ISecureConn:
        assert isinstance(established, SecureSession), "the Noise transport makes nothing else"
        peer, session = str(established.remote_peer), NoiseSession(established)
        if not self._welcome(peer):
            raise HandshakeFailure("not welcome")
        if session.socket is not None and not self._seat(session.socket, peer):
            raise HandshakeFailure("no place")
        return session
