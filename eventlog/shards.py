"""Assign every model to a shard, so that all events of a model are in one partition. Pure.

A tag represents a model's name if the name would be too long, such as in prediction ids. Its first
digits are the shard. Clients and logs contain tags and shards, so neither can ever change.
"""

from functools import lru_cache
from hashlib import blake2b

SHARDS = 4_096
SHARD_DIGITS = 3
TAG_DIGITS = 10
_TAG = TAG_DIGITS + 1  # length of a tag and the hyphen after it


@lru_cache(maxsize=16_384)  # bounded, because clients can send any name
def tag_of(model: str) -> str:
    """Return the tag of a model: 10 hex digits, equal for two models once in 10¹² pairs."""
    name = model.encode(errors="surrogatepass")
    return blake2b(name, digest_size=TAG_DIGITS // 2).hexdigest()


def shard_of(model: str) -> str:
    """Return the shard of a model: the first 3 hex digits of its tag."""
    return tag_of(model)[:SHARD_DIGITS]


# Shard of all events without a known model. Otherwise, callers could create thousands of shards.
NO_MODEL = shard_of("")


def shard_of_label(prediction_id: str, *, verified: bool) -> str:
    """Return the shard in a verified prediction id, or NO_MODEL for an unverified id."""
    return prediction_id[:SHARD_DIGITS] if verified else NO_MODEL


def join_key(prediction_id: str) -> str:
    """Return the key that joins a prediction and its labels.

    The key is the prediction id. If the client chose the id, the key omits the tag, because labels
    can still have ids from releases up to 0.2, which had no tag.
    """
    return prediction_id[_TAG:] if prediction_id.startswith("own-", _TAG) else prediction_id
