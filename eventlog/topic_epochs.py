"""Store the ids of the topics that received events, to detect a topic that was re-created."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from eventlog.durable_files import replace_file
from eventlog.errors import EventLogError


class TopicEpochs:
    """Store topic ids by name in a file that is replaced atomically."""

    def __init__(self, path: Path) -> None:
        """Read the file if it exists; raises EventLogError."""
        self._path = path
        try:
            data = path.read_bytes() if path.exists() else b"{}"
            self._epochs = msgspec.json.decode(data, type=dict[str, str])
        except (OSError, msgspec.DecodeError) as error:
            raise EventLogError(f"{path}: expected topic ids by name: {error}") from None

    def recreated(self, topics: Mapping[str, str]) -> list[str]:
        """Return the names of topics whose id differs from the stored id."""
        return sorted(name for name, id_ in topics.items() if self._epochs.get(name, id_) != id_)

    def keep(self, topics: Mapping[str, str]) -> None:
        """Store the ids durably."""
        if all(self._epochs.get(name) == id_ for name, id_ in topics.items()):
            return
        epochs = {**self._epochs, **topics}
        replace_file(self._path, msgspec.json.encode(epochs))
        self._epochs = epochs
