"""Number the events of one append: in their source, and in their shard."""

from typing import NamedTuple, Protocol


class EventNumbers(Protocol):
    """The part of a writer that numbers its events."""

    @property
    def next_sequence(self) -> int:
        """Return the sequence of its next event."""
        ...

    def next_number(self, shard: str) -> int:
        """Return the number of its next event in a shard."""
        ...


class Stamp(NamedTuple):
    """The place of an event in its writer's epoch."""

    sequence: int
    shard: str
    number: int


class Stamps:
    """Stamp the next events to append, in the order of appending."""

    def __init__(self, writer: EventNumbers) -> None:
        self._writer = writer
        self._sequence = writer.next_sequence
        self._numbers: dict[str, int] = {}

    def take(self, shard: str) -> Stamp:
        """Return the stamp of the next event of a shard."""
        number = self._numbers.get(shard)
        if number is None:
            number = self._writer.next_number(shard)
        sequence = self._sequence
        self._numbers[shard] = number + 1
        self._sequence = sequence + 1
        return Stamp(sequence, shard, number)
