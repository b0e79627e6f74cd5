"""A worker's record of running requests: after a crash, each is logged once as failed."""

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.events import PredictionEvent
from eventlog.follower import Follower
from eventlog.log import Position
from eventlog.segments import SegmentWriter
from service.call import Arm, Call
from service.crashes.recovery import Death, recover
from service.crashes.run_record import FAULT, FILE, RunRecord, VersionRuns
from service.prediction_log import IdGenerator, PredictionLog
from tests.service.in_process import version


class Source:
    """One source's folder; `die` leaves its files as a killed worker does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.start()

    def start(self) -> None:
        self.writer = SegmentWriter.claim(self.root, "here")
        self.folder = self.root / self.writer.source
        self.log = PredictionLog(self.writer, IdGenerator())

    def record(self) -> None:
        self.runs = RunRecord(self.folder, self.writer)

    def of(self, model: str = "sums", number: str = "1") -> VersionRuns:
        return VersionRuns(
            self.runs, version(number, model), lambda: IdGenerator().prediction(model)
        )

    def die(self) -> None:
        data = (self.folder / FILE).read_bytes()
        self.runs.close()
        self.writer.close()
        (self.folder / FILE).write_bytes(data)

    def recover(self, ended: str = "exit status 1") -> Death | None:
        return recover(self.folder, self.writer, lambda _: ended)

    def events(self) -> list[PredictionEvent]:
        follower = Follower(self.folder, Position(0, 0))
        found = [record.event for record in follower.peek(100_000)]
        follower.close()
        assert all(isinstance(one, PredictionEvent) for one in found)
        return found  # type: ignore[return-value]


def call(model: str = "sums", received: int = 7) -> Call:
    return Call(
        protocol="rest",
        model=model,
        selector="champion",
        received=received,
        started=0.0,
        deadline=1.0,
        alias="champion",
        version=version("1", model),
    )


@pytest.fixture
def source(tmp_path: Path) -> Source:
    source = Source(tmp_path)
    source.record()
    return source


def test_requests_in_flight_of_a_dead_worker_are_logged_as_failed(source: Source) -> None:
    calls = [call(received=1), call(received=2)]
    source.of().begin(calls)
    source.die()
    source.start()
    death = source.recover("exit status 3")

    events = source.events()
    assert [one.prediction_id for one in events] == [one.prediction_id for one in calls]
    assert {(one.model, one.version, one.outcome, one.alias) for one in events} == {
        ("sums", "1", "failed", "champion")
    }
    assert [one.received for one in events] == [1, 2]
    assert events[0].reason == "the worker process ended during the run (exit status 3)"
    assert death == Death("exit status 3", [("sums", "1")])


def test_ended_runs_and_a_clean_shutdown_leave_no_record(source: Source) -> None:
    runs = source.of()
    runs.end(runs.begin([call()]))
    source.die()
    source.start()
    source.recover()
    assert source.events() == []
    source.record()
    source.of().begin([call()])
    source.runs.close()
    assert source.recover() is None


@given(logged=st.lists(st.booleans(), min_size=1, max_size=40))
def test_each_request_has_one_event_whatever_was_logged_before(
    tmp_path_factory: pytest.TempPathFactory, logged: list[bool]
) -> None:
    source = Source(tmp_path_factory.mktemp("source"))
    source.record()
    calls = [call(received=number) for number in range(len(logged))]
    source.of().begin(calls)
    done = [(one, "failed", "it was logged") for one, was in zip(calls, logged, strict=True) if was]
    source.log.append_failures(done)  # type: ignore[arg-type]
    source.die()
    for _ in range(2):  # the second start finds the record of a recovery that was killed
        left = (source.folder / FILE).read_bytes()
        source.start()
        source.recover()
        source.writer.close()
        (source.folder / FILE).write_bytes(left)
    found = [one.prediction_id for one in source.events()]
    assert sorted(found) == sorted(one.prediction_id for one in calls)


def test_a_batch_larger_than_a_slot_and_more_batches_than_slots_are_recorded(
    source: Source,
) -> None:
    calls = [[call() for _ in range(1000)], *([call()] for _ in range(50))]
    tokens = [source.of().begin(batch) for batch in calls]
    source.of().end(tokens[1])
    source.die()
    source.start()
    source.recover()
    expected = {one.prediction_id for batch in (calls[0], *calls[2:]) for one in batch}
    assert {one.prediction_id for one in source.events()} == expected


def test_an_event_has_the_id_that_was_recorded(source: Source) -> None:
    one = call()
    source.of().begin([one])
    recorded = one.prediction_id
    source.log.append_failures([(one, "expired", "")])
    assert source.events()[0].prediction_id == one.prediction_id == recorded


def test_an_event_names_its_requests_arm_and_load_test(source: Source) -> None:
    source.record()
    one, other = call(), call()
    one.arm, other.load_test = Arm("r1", "rollout", "00ff"), True
    source.of().begin([one, other])
    source.die()
    source.start()
    source.recover()
    first, second = source.events()
    assert (first.rollout, first.arm, first.routing_key) == ("r1", "rollout", "00ff")
    assert (second.rollout, second.arm, first.load_test, second.load_test) == ("", "", False, True)


def test_the_thread_that_faulted_names_the_model(source: Source) -> None:
    source.of("good").begin([call("good")])
    bad = source.of("bad", "2")
    token = bad.begin([call("bad")])
    threads: list[int] = []

    def run() -> None:
        threads.append(threading.get_ident())
        bad.enter(token)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    source.die()
    (source.folder / FAULT).write_text(
        "Fatal Python error: Floating-point exception\n\n"
        f"Current thread 0x{threads[0]:016x} (most recent call first):\n  File ...\n"
    )
    source.start()
    death = source.recover("")
    assert death == Death("Floating-point exception", [("bad", "2")])
    assert {one.model for one in source.events()} == {"good", "bad"}


def test_an_external_kill_blames_no_model(source: Source) -> None:
    source.of().begin([call()])
    source.die()
    source.start()
    assert source.recover("") is None
    assert source.events()[0].reason == "the worker process ended during the run (killed)"


def test_a_version_that_was_loading_is_a_suspect(source: Source) -> None:
    with source.runs.loading(version("4")):
        source.die()
    source.start()
    assert source.recover() == Death("exit status 1", [("sums", "4")])
    assert source.events() == []


@pytest.mark.parametrize("left", [b"", b"runs", b"\xff" * 10_000, b"runs\0\0\0\1" + b"\1" * 99_999])
def test_a_damaged_record_is_skipped(tmp_path: Path, left: bytes) -> None:
    source = Source(tmp_path)
    (source.folder / FILE).write_bytes(left)
    source.recover()
    assert source.events() == []


def test_a_full_disk_records_nothing_and_fails_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    source.record()
    runs = source.of()
    runs.end(runs.begin([call()]))
    source.runs.close()
