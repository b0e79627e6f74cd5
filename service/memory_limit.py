"""Bound the data of a worker by the operating system."""

import resource

from eventlog.byte_size import parse_size
from eventlog.errors import SettingError


def limit_memory(text: str, variable: str) -> None:
    """Limit the data of this process, as in 8GiB; "" sets no limit. Raises SettingError.

    An allocation beyond it fails in the run that asks for it, instead of ending the process.
    """
    try:
        size = parse_size(text)
        if size:
            resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    except (ValueError, OSError) as error:
        raise SettingError(f"{variable}: {error}") from None
