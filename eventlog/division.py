"""Assign shards to partitions, as Kafka's producers do. Pure."""

from functools import lru_cache

import msgspec

from eventlog.shards import SHARDS


@lru_cache(maxsize=4 * SHARDS)
def partition_of(shard: str, partitions: int) -> int:
    """Return the partition of a shard's records, which follows from the hash of the shard's key."""
    return (_murmur2(shard.encode()) & 0x7FFFFFFF) % partitions


class Division(msgspec.Struct, frozen=True):
    """One partition of a log that is divided by shards."""

    partitions: int
    number: int

    def owns(self, shard: str) -> bool:
        """Return whether the events of a shard are in this partition."""
        return partition_of(shard, self.partitions) == self.number

    def owner(self, shard: str) -> int:
        """Return the partition of a shard's events."""
        return partition_of(shard, self.partitions)


def _murmur2(data: bytes) -> int:
    """Return the hash of a key, as Kafka's Java client computes it.

    kafka-python has this function too, but its import takes longer than most commands.
    """
    most, factor = 0xFFFFFFFF, 0x5BD1E995
    hash_ = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        part = int.from_bytes(data[at : at + 4], "little") * factor & most
        part = (part ^ part >> 24) * factor & most
        hash_ = hash_ * factor & most ^ part
    if rest := data[whole:]:
        hash_ = (hash_ ^ int.from_bytes(rest, "little")) * factor & most
    hash_ = (hash_ ^ hash_ >> 13) * factor & most
    return hash_ ^ hash_ >> 15
