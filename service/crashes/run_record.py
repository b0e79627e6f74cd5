"""Record the runs in flight in a file, which is read after the worker's death.

    <log>/<source>/runs      a header, then slots; each slot contains a batch or is empty
    <log>/<source>/fault     output of faulthandler, with the thread that faulted

The file `runs` is mapped into memory, and all its disk blocks are allocated. So recording needs no
system call, survives the process, and cannot fail on a full disk. A slot is valid once its header
is written.
"""

import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import Protocol

import msgspec

from eventlog import events
from eventlog.durable_files import open_private
from registry.manifest import Version
from service.call import NO_ARM, Call

FILE, FAULT = "runs", "fault"
LONGEST_NAME = 128  # maximum length of a request id in the record
_HEADER = struct.Struct("<8sqq")  # magic number, process id, epoch of the process's events
_MAGIC = b"runs\0\0\0\1"
_SLOT = struct.Struct("<BxxxIQ")  # 1 if valid, length of the content, id of the thread that runs
_THREAD = struct.Struct("<Q")
_FIRST = 4096  # offset of the first slot, in bytes
SLOT_BYTES = 16 << 10  # size of a slot, which is identified by its offset
_MOST = SLOT_BYTES - _SLOT.size  # maximum size of a slot's content, in bytes
_SLOTS = 16  # initial number of slots
_MOST_SLOTS = 4096  # maximum number of slots

_encode = msgspec.msgpack.Encoder().encode


class RunningVersion(msgspec.Struct, frozen=True, array_like=True):
    """The version of a run in flight."""

    model: str
    number: str
    digest: str


class RunningRequest(msgspec.Struct, frozen=True, array_like=True):
    """A request of a run in flight, with the fields that its event needs."""

    prediction_id: str
    request_id: str
    protocol: events.Protocol
    alias: str
    revision: int
    received: int
    event_time: int | None
    rows: int
    traceparent: str
    rollout: str = ""  # this and the next fields are absent in records of earlier releases
    arm: events.ArmName = ""
    routing_key: str = ""
    load_test: bool = False


class RunInFlight(msgspec.Struct, frozen=True, array_like=True):
    """A batch that was running when the worker died; without requests, a version being loaded."""

    version: RunningVersion
    sequence: int  # next sequence number of the log when the run started
    requests: list[RunningRequest]
    thread: int = 0


class Crash(msgspec.Struct, frozen=True):
    """The record of a dead worker."""

    pid: int
    epoch: int
    runs: list[RunInFlight]
    fault: str  # output of faulthandler; "" if there was no fatal signal


class Numbered(Protocol):
    """The part of the log's writer that the record reads."""

    @property
    def epoch(self) -> int: ...
    @property
    def next_sequence(self) -> int: ...


class RunRecord:
    """The runs in flight of one worker.

    `begin` and `end` are called in the event loop; `loading` is called in another thread.
    """

    def __init__(self, folder: Path, log: Numbered) -> None:
        """Create an empty record; if the disk is full, record nothing."""
        self._log = log
        self._growth = threading.Lock()
        self._free: list[int] = []
        self._more: dict[int, list[int]] = {}  # first slot of a large batch -> its other slots
        self._map: mmap.mmap | None = None
        self._slots = 0
        self._path = folder / FILE
        self._path.unlink(missing_ok=True)
        self._file = open_private(self._path)
        self._grow(_SLOTS)
        if self._map is not None:
            _HEADER.pack_into(self._map, 0, _MAGIC, os.getpid(), log.epoch)

    def begin(self, version: msgspec.Raw, requests: Sequence[tuple[object, ...]]) -> int:
        """Record a run in the calling thread; return its slot, the argument of `end`."""
        content = _encode((version, self._log.next_sequence, requests))
        if len(content) > _MOST:
            return self._begin_split(version, list(self._split(version, requests)))
        try:
            slot = self._free.pop()
        except IndexError:
            slot = self._new_slot()
        start = slot + _SLOT.size
        if self._map is not None and slot:
            self._map[start : start + len(content)] = content
            _SLOT.pack_into(self._map, slot, 1, len(content), get_ident())
        return slot

    def enter(self, slot: int) -> None:
        """Record that the calling thread executes the run."""
        if self._map is not None and slot:
            _THREAD.pack_into(self._map, slot + 8, get_ident())
            if self._more:
                for other in self._more.get(slot, ()):
                    _THREAD.pack_into(self._map, other + 8, get_ident())

    def end(self, slot: int) -> None:
        """Clear a run whose events are in the log."""
        if self._map is None or not slot:
            return
        self._map[slot] = 0
        self._free.append(slot)
        if self._more:
            for other in self._more.pop(slot, ()):
                self._map[other] = 0
                self._free.append(other)

    @contextmanager
    def loading(self, version: Version) -> Iterator[None]:
        """Record that the calling thread loads a version and runs it for warm-up."""
        slot = self.begin(encode_version(version), [])
        try:
            yield
        finally:
            self.end(slot)

    def close(self) -> None:
        """Remove the record, because the worker stops normally."""
        if self._map is not None:
            self._map.close()
            self._map = None
            os.close(self._file)
            self._path.unlink(missing_ok=True)

    def _split(
        self, version: msgspec.Raw, requests: Sequence[tuple[object, ...]]
    ) -> Iterator[Sequence[tuple[object, ...]]]:
        """Split a batch into parts that each fit into a slot."""
        if len(_encode((version, self._log.next_sequence, requests))) <= _MOST:
            yield requests
        elif len(requests) > 1:
            half = len(requests) // 2
            yield from self._split(version, requests[:half])
            yield from self._split(version, requests[half:])

    def _begin_split(
        self, version: msgspec.Raw, parts: Sequence[Sequence[tuple[object, ...]]]
    ) -> int:
        slots = [slot for part in parts if (slot := self.begin(version, part))]
        if not slots:
            return 0
        if slots[1:]:
            self._more[slots[0]] = slots[1:]
        return slots[0]

    def _new_slot(self) -> int:
        """Enlarge the file and return a new slot, 0 if this fails."""
        self._grow(min(max(_SLOTS, 2 * self._slots), _MOST_SLOTS))
        try:
            return self._free.pop()
        except IndexError:
            return 0

    def _grow(self, slots: int) -> None:
        """Add slots and allocate their disk blocks: a write without a block kills the worker."""
        with self._growth:
            size = _FIRST + slots * SLOT_BYTES
            if slots <= self._slots:
                return
            try:
                os.posix_fallocate(self._file, 0, size)
                if self._map is None:
                    self._map = mmap.mmap(self._file, size)
                else:
                    self._map.resize(size)
            except OSError:
                return
            self._free += range(_FIRST + self._slots * SLOT_BYTES, size, SLOT_BYTES)
            self._slots = slots


class VersionRuns:
    """The runs of one version; implements the batcher's `RunsInFlight`."""

    def __init__(self, record: RunRecord, version: Version, new_id: Callable[[], str]) -> None:
        """`new_id` returns a new prediction id, because a call needs its id before it runs."""
        self._record = record
        self._version = encode_version(version)
        self._new_id = new_id
        self.enter = record.enter
        self.end = record.end

    def begin(self, calls: Sequence[Call]) -> int:
        """Set the prediction ids of these calls, and record their run."""
        for call in calls:
            if not call.prediction_id:
                call.prediction_id = self._new_id()
        return self._record.begin(
            self._version,
            [
                (
                    call.prediction_id,
                    "" if call.request is None else call.request.id[:LONGEST_NAME],
                    call.protocol,
                    call.alias,
                    call.revision,
                    call.received,
                    call.event_time,
                    0 if call.inputs is None else call.inputs.rows,
                    call.traceparent,
                    *msgspec.structs.astuple(call.arm or NO_ARM),
                    call.load_test,
                )
                for call in calls
            ],
        )


def encode_version(version: Version) -> msgspec.Raw:
    """Encode a version for `RunRecord.begin`."""
    return msgspec.Raw(_encode((version.model, version.number, version.digest)))


def read_crash(folder: Path) -> Crash | None:
    """Return the record of the source's last worker; None if the worker stopped normally.

    Unreadable content, for example after a power loss, is skipped.
    """
    try:
        data = (folder / FILE).read_bytes()
    except OSError:
        return None
    if len(data) < _FIRST:
        return None
    magic, pid, epoch = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        return None
    runs = [run for slot in range(_FIRST, len(data), SLOT_BYTES) if (run := _read(data, slot))]
    try:
        fault = (folder / FAULT).read_text(errors="replace")
    except OSError:
        fault = ""
    return Crash(pid, epoch, runs, fault)


def _read(data: bytes, slot: int) -> RunInFlight | None:
    if slot + SLOT_BYTES > len(data):
        return None
    valid, length, thread = _SLOT.unpack_from(data, slot)
    if valid != 1 or length > _MOST:
        return None
    start = slot + _SLOT.size
    try:
        run = msgspec.msgpack.decode(data[start : start + length], type=RunInFlight)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return msgspec.structs.replace(run, thread=thread)
