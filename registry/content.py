"""The content of a version: its stored manifest, and the digest that identifies it."""

import functools
import hashlib

import msgspec

from registry.manifest import BaselinePolicy, Manifest

_NEWER_FIELDS = {  # fields added after the first release, with their defaults
    "batching": "auto",
    "coerce": False,
    "event_time": "",
    "optional_inputs": [],
    "summaries": None,
    "prediction.scores": "",
    "prediction.activation": "none",
    "session.extensions": False,
    "session.isolation": "none",
    "session.memory": "",
    "monitoring.baseline": msgspec.to_builtins(BaselinePolicy()),
}


def encode_manifest(manifest: Manifest) -> bytes:
    """Encode a completed manifest for storage.

    Newer fields are omitted if they have their defaults, so that content that an earlier release
    registered has the same digest.
    """
    fields = msgspec.to_builtins(manifest)
    for path, default in _NEWER_FIELDS.items():
        *parents, name = path.split(".")
        holder = functools.reduce(lambda level, key: level[key], parents, fields)
        if holder[name] == default:
            del holder[name]
    return msgspec.json.encode(fields)


def content_digest(*contents: bytes, data: str = "") -> str:
    """Return the SHA-256 of the SHA-256 digests of all contents, in hex.

    `data` is the SHA-256 of the model's external data, or "" without external data.
    """
    parts = b"".join(hashlib.sha256(content).digest() for content in contents)
    return hashlib.sha256(parts + bytes.fromhex(data)).hexdigest()
