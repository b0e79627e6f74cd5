"""A fake sink of the forwarder that refuses what a broker would refuse."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from eventlog.errors import Refusal, Refused
from eventlog.kafka import KafkaMessage


class FakeKafka:
    """A sink that holds what it takes, and refuses as a broker does."""

    def __init__(self) -> None:
        self.held: list[KafkaMessage] = []
        self.largest = 1 << 30
        self.invalid: Callable[[KafkaMessage], bool] = lambda _: False

    def send(self, batch: Sequence[KafkaMessage]) -> None:
        refusals, failed = {}, []
        for index, message in enumerate(batch):
            if len(message.value) > self.largest:
                refusals[index] = Refusal("too large for the topic", too_large=True)
            elif self.invalid(message):
                refusals[index] = Refusal("invalid", too_large=False)
            elif refusals and index % 7 == 0:
                failed.append(index)  # in flight beside one that was refused
            else:
                self.held.append(message)
        if refusals:
            raise Refused(refusals, failed)

    def topics(self) -> Mapping[str, str]:
        return {}

    def sequences(self, topic: str) -> list[int]:
        held = [message for message in self.held if message.topic == topic]
        return [msgspec.json.decode(message.value)["sequence"] for message in held]
