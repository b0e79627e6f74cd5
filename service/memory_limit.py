"""Limit the memory of a worker by the operating system."""

import resource

from eventlog.byte_size import parse_size
from eventlog.errors import SettingError


def limit_memory(text: str, variable: str) -> None:
    """Limit the data memory of this process to a size such as 8GiB; "" sets no limit.

    Above the limit, an allocation fails, so that its run fails instead of the process. Raises
    SettingError, which names `variable`.
    """
    try:
        size = parse_size(text)
        if size:
            resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    except (ValueError, OSError) as error:
        raise SettingError(f"{variable}: {error}") from None
