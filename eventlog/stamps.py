"""Number the events of one append within their source and within their shard."""

from typing import NamedTuple, Protocol


class EventNumbers(Protocol):
    """The part of a writer that numbers its events."""

    @property
    def next_sequence(self) -> int:
        """Return the sequence number of the writer's next event."""
        ...

    def next_number(self, shard: str) -> int:
        """Return the number of the writer's next event in a shard."""
        ...


class Stamp(NamedTuple):
    """The numbers of an event within its writer's epoch."""

    sequence: int
    shard: str
    number: int


class Stamps:
    """Assign numbers to the next events, in the order in which they will be appended."""

    def __init__(self, writer: EventNumbers) -> None:
        self._writer = writer
        self._sequence = writer.next_sequence
        self._numbers: dict[str, int] = {}

    def take(self, shard: str) -> Stamp:
        """Return the numbers of the next event, which belongs to this shard."""
        number = self._numbers.get(shard)
        if number is None:
            number = self._writer.next_number(shard)
        sequence = self._sequence
        self._numbers[shard] = number + 1
        self._sequence = sequence + 1
        return Stamp(sequence, shard, number)
