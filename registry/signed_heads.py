"""Sign heads of the registry's history with Ed25519, and verify them with the public key.

A signed head proves that the owner of the private key read this chain at this revision. It is one
JSON object, so that it can be stored, published and verified without the registry.
"""

import hashlib
import os
import secrets
import stat
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from eventlog.durable_files import make_folder, sync_folder
from registry.errors import RegistryError
from registry.history.audit import ChainHead
from telemetry.clock import now_us

# The signed bytes begin with this text, so that a signature of other data is not valid for a head.
_PURPOSE = "driftline registry head 1"
_LARGEST = 65_536  # bytes of a key or a head
_PRIVATE = serialization.PrivateFormat.PKCS8
_PEM = serialization.Encoding.PEM


class InvalidSigningKey(RegistryError):
    """A key file that cannot be used."""


class InvalidSignedHead(RegistryError):
    """A signed head that cannot be read, or that another key signed."""


class SignedHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A head of the history with its signature."""

    revision: int
    chain: str
    time: int  # microseconds since the epoch, by the signer's clock
    key: str  # SHA-256 of the public key, in hex
    signature: str  # Ed25519, in base64

    @property
    def head(self) -> ChainHead:
        """Return the head without its signature."""
        return ChainHead(self.revision, self.chain)


def ensure_key(path: Path) -> tuple[Ed25519PrivateKey, bool]:
    """Return the private key in a file, and whether the file was created because it was missing.

    Only the file's owner can read it. Raises InvalidSigningKey and OSError.
    """
    if path.exists():
        return read_key(path), False
    make_folder(path.parent)
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(_PEM, _PRIVATE, serialization.NoEncryption())
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  # `open` takes a file descriptor
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike a rename, a link never replaces an existing key
        except FileExistsError:
            return read_key(path), False
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
    return key, True


def read_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key in a PEM file; raises InvalidSigningKey."""
    data = _read(path, "driftline audit key creates one")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise InvalidSigningKey(f"{path}: other users can read it; expected chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidSigningKey(
            f"{path}: expected an Ed25519 private key as PEM (PKCS 8), without a password: {error}"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidSigningKey(f"{path}: expected an Ed25519 key, got another kind")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Return the public key in a PEM file; raises InvalidSigningKey."""
    data = _read(path, "driftline audit key prints it")
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidSigningKey(f"{path}: expected an Ed25519 public key as PEM: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidSigningKey(f"{path}: expected an Ed25519 key, got another kind")
    return key


def public_pem(key: Ed25519PrivateKey) -> str:
    """Return the public key as PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(_PEM, form).decode()


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the SHA-256 of a public key, in hex."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def sign_head(
    key: Ed25519PrivateKey, head: ChainHead, clock: Callable[[], int] = now_us
) -> SignedHead:
    """Return the head with the current time and a signature."""
    unsigned = SignedHead(head.revision, head.chain, clock(), fingerprint(key.public_key()), "")
    signature = b64encode(key.sign(_signed_bytes(unsigned))).decode()
    return msgspec.structs.replace(unsigned, signature=signature)


def read_signed_head(path: Path) -> SignedHead:
    """Read a head that `driftline audit head --sign` printed, without checking its signature.

    Raises InvalidSignedHead.
    """
    try:
        data = path.read_bytes()[: _LARGEST + 1]
        return msgspec.json.decode(data, type=SignedHead)
    except OSError as error:
        raise InvalidSignedHead(f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidSignedHead(
            f"{path}: expected the output of driftline audit head --sign: {error}"
        ) from None


def check_signature(head: SignedHead, key: Ed25519PublicKey) -> None:
    """Raise InvalidSignedHead unless this key signed the head."""
    fingerprint_of_key = fingerprint(key)
    if head.key != fingerprint_of_key:
        raise InvalidSignedHead(
            f"the head of revision {head.revision} is signed by key {head.key[:12]}..., but the "
            f"public key is {fingerprint_of_key[:12]}..."
        )
    try:
        key.verify(b64decode(head.signature, validate=True), _signed_bytes(head))
    except (InvalidSignature, ValueError):
        raise InvalidSignedHead(
            f"the signature of the head of revision {head.revision} is not valid: the head was "
            "changed, or another key signed it"
        ) from None


def _signed_bytes(head: SignedHead) -> bytes:
    return msgspec.json.encode([_PURPOSE, head.revision, head.chain, head.time, head.key])


def _read(path: Path, advice: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError as error:
        raise InvalidSigningKey(f"{path}: {error.strerror}; {advice}") from None
