"""A power cut loses exactly the unflushed data."""

import os
from pathlib import Path

import pytest

from tests.oracle.disk import Disk


def test_power_is_cut_between_two_writes(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk")
    if not disk.there:
        pytest.skip("POWER CUT NOT TESTED: this user may not mount a file system")
    try:
        with (tmp_path / "disk" / "flushed").open("wb", buffering=0) as file:
            file.write(b"flushed")
            os.fsync(file.fileno())
            os.fsync(folder := os.open(tmp_path / "disk", os.O_RDONLY))
            os.close(folder)
            file.write(b" and not flushed")
        disk.cut_power()
        assert (tmp_path / "disk" / "flushed").read_bytes() == b"flushed"
    finally:
        disk.close()
