"""The monitor waits while the PostgreSQL server's disk is full and then stores the same."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from monitoring.errors import DatabaseUnavailable
from tests.monitoring.log_in_memory import Monitor, eight_hours, everything
from tests.postgres_server import running_in
from tests.small_disk import fill, mounted

_SIZE = 160 << 20  # bytes, for an empty cluster and its write-ahead log


def test_full_disk_of_the_server_delays_results_without_changing_them(
    free_port: Callable[[], int], tmp_path: Path
) -> None:
    records = eight_hours().records
    Monitor(tmp_path / "calm.db", records).drain()
    calm = everything(tmp_path / "calm.db")
    with tempfile.TemporaryDirectory(prefix="postgres-") as root:
        Path(root).chmod(0o711)
        disk = Path(root) / "disk"
        with mounted(disk, _SIZE), running_in(disk, free_port()) as server:
            where = server.schema()
            Monitor(where, records[:200]).drain()
            ballast = fill(disk)
            with pytest.raises(DatabaseUnavailable):
                Monitor(where, records).drain(20)
            ballast.unlink()
            server.revive()
            Monitor(where, records).drain()
            assert everything(where) == calm
