"""Assign every model to a shard, so that everything about a model lies in one place. Pure.

A tag stands for a model's name where the name itself would be too long, such as in prediction ids.
Its first digits are the shard. Clients and logs hold both, so neither ever changes.
"""

from functools import lru_cache
from hashlib import blake2b

SHARDS = 4_096
SHARD_DIGITS = 3
TAG_DIGITS = 10
_TAG = TAG_DIGITS + 1  # with the hyphen


@lru_cache(maxsize=16_384)  # bounded, because clients may state any name
def tag_of(model: str) -> str:
    """Return the tag of a model: 10 hex digits, which two models share once in 10¹² pairs."""
    name = model.encode(errors="surrogatepass")
    return blake2b(name, digest_size=TAG_DIGITS // 2).hexdigest()


def shard_of(model: str) -> str:
    """Return the shard of a model: the first 3 hex digits of its tag."""
    return tag_of(model)[:SHARD_DIGITS]


# Of events that belong to no model. One for all, or callers could make up thousands of shards.
NO_MODEL = shard_of("")


def shard_of_label(prediction_id: str, *, verified: bool) -> str:
    """Return the shard that a verified prediction id names; NO_MODEL for any other id."""
    return prediction_id[:SHARD_DIGITS] if verified else NO_MODEL


def join_key(prediction_id: str) -> str:
    """Return the key that joins a prediction and its labels: the id without its model's tag.

    Ids of callers had no tag up to release 0.2; their labels must find their predictions still.
    """
    return prediction_id[_TAG:] if prediction_id.startswith("own-", _TAG) else prediction_id
