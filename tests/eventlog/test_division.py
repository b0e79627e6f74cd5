"""A shard is in the partition to which Kafka's producers send it."""

from collections import Counter

from kafka.partitioner.default import murmur2

from eventlog.division import Division, partition_of
from eventlog.shards import SHARDS


def test_every_shard_is_in_the_partition_that_producers_use() -> None:
    shards = [f"{number:03x}" for number in range(SHARDS)]
    for partitions in (1, 3, 12, 64):
        placed = [partition_of(shard, partitions) for shard in shards]
        assert placed == [(murmur2(s.encode()) & 0x7FFFFFFF) % partitions for s in shards]
        assert len(Counter(placed)) == partitions


def test_every_shard_belongs_to_exactly_one_partition() -> None:
    parts = [Division(12, number) for number in range(12)]
    assert [part.number for part in parts if part.owns("abc")] == [parts[0].owner("abc")]
