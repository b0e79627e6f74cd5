"""A shadow runs on its share of answered requests, in bounded time, and is logged separately."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from driftline.gates.context import NotEnoughData
from driftline.shadows.answer import Answer
from driftline.shadows.mirror import Mirror
from eventlog.events import PredictionEvent, Tensor
from eventlog.log import Position, Reader
from eventlog.segments import SegmentReader, SegmentWriter
from eventlog.settings import Home, LogSettings
from registry.errors import UnknownVersion, VersionRefused
from registry.history.rows import HistoryRow
from registry.history.shadow_state import Shadow
from registry.settings import open_history
from registry.shadows import Shadows

SECOND = 1_000_000
T0 = 1_000 * SECOND


class Clock:
    now = T0

    def __call__(self) -> int:
        return self.now


class Runs:
    """A version whose runs take time by the clock."""

    def __init__(self, clock: Clock, seconds: float = 0.0, fault: str = "") -> None:
        self.clock, self.seconds, self.fault = clock, seconds, fault
        self.seen: list[str] = []

    def answer(self, events: Sequence[PredictionEvent]) -> tuple[list[Answer], int]:
        if self.fault:
            raise NotEnoughData(self.fault)
        self.clock.now += round(self.seconds * SECOND * len(events))
        self.seen += [one.prediction_id for one in events]
        return [Answer(one, {"y": Tensor("FP32", [1], [1.0])}, 0, one.rows, 5) for one in events], 0


class Answers:
    def __init__(self) -> None:
        self.full, self.logged = False, list[str]()

    def append(self, model: str, shadow: Shadow, digest: str, answers: Sequence[Answer]) -> None:
        self.logged += [one.event.prediction_id for one in answers]


class Scene:
    """A model with a champion, and a log of requests that it answered."""

    def __init__(self, root: Path) -> None:
        self.home, self.clock, self.log = Home(root), Clock(), Answers()
        self.history = open_history(self.home)
        for row in (
            HistoryRow(0, "m", "registered", "1", T0 - 5, "ann", digest="d1"),
            HistoryRow(0, "m", "registered", "2", T0 - 4, "ann", digest="d2"),
            HistoryRow(0, "m", "promoted", "1", T0 - 3, "ann", "champion"),
        ):
            self.history.append("m", lambda _, row=row: [row])
        self.shadows = Shadows(self.history, lambda: self.clock.now * 1_000)
        self.writer = SegmentWriter.claim(self.home.log, "serving", LogSettings())
        self.runs = Runs(self.clock)
        self.opened: list[Mapping[str, Position]] = []

    def ask(self, count: int = 1, **changes: Any) -> None:
        for _ in range(count):
            writer = self.writer
            fields: dict[str, Any] = {
                "source": writer.source, "epoch": writer.epoch, "sequence": writer.next_sequence,
                "time": self.clock.now, "received": self.clock.now, "model": "m", "version": "1",
                "prediction_id": f"p{writer.next_sequence}", "protocol": "rest", "outcome": "ok",
                "alias": "champion", "rows": 1,
            }  # fmt: skip
            writer.append([PredictionEvent(**(fields | changes))])

    def mirror(self, **options: Any) -> Mirror:
        def reader(at: Mapping[str, Position], _since: int) -> Reader:
            self.opened.append(dict(at))
            return SegmentReader(self.home.log, at)

        return Mirror(
            self.history, reader, lambda *_: self.runs, self.log, clock=self.clock, **options
        )

    def start(self, share: float = 1.0) -> str:
        self.shadows.start("m", "2", "champion", share, actor="ann")
        return self.history.state("m").shadows["2"].id


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def drain(mirror: Mirror) -> None:
    while mirror.step():
        pass


def test_a_shadow_runs_only_on_requests_that_the_champion_answered(scene: Scene) -> None:
    scene.ask(2)  # before it began
    scene.clock.now += SECOND
    id_ = scene.start()
    scene.ask(3)
    for changes in (
        {"version": "2"}, {"outcome": "failed"}, {"alias": ""}, {"alias": "next"},
        {"load_test": True}, {"protocol": "batch"}, {"protocol": "shadow"}, {"model": "n"},
    ):  # fmt: skip
        scene.ask(**changes)
    scene.ask(payload="digest")
    mirror = scene.mirror()
    drain(mirror)
    assert scene.log.logged == ["p2", "p3", "p4"]
    counts = mirror.report.shadows[id_]
    assert (counts.events, counts.rows, counts.agreed) == (3, 3, 3)
    assert counts.skipped == {"payload": 1}


def test_a_shadows_share_selects_the_same_requests_after_a_restart(scene: Scene) -> None:
    scene.start(0.25)
    scene.ask(400)
    drain(scene.mirror())
    once = scene.log.logged[:]
    assert 60 < len(once) < 140
    drain(scene.mirror())
    assert scene.log.logged == once * 2


def test_a_slow_shadow_skips_old_requests_and_stays_within_its_lag(scene: Scene) -> None:
    id_ = scene.start()
    scene.ask(3_000)
    scene.runs.seconds = 0.1  # five minutes for all
    mirror = scene.mirror(most_lag_s=60)
    drain(mirror)
    counts = mirror.report.shadows[id_]
    assert counts.events + counts.skipped["late"] == 3_000
    assert 600 <= counts.events <= 600 + 256  # one poll more than a minute holds
    scene.ask(5)
    drain(mirror)
    assert scene.log.logged[-5:] == [f"p{n}" for n in range(3_000, 3_005)]


def test_a_shadow_continues_at_its_position(scene: Scene) -> None:
    scene.start()
    scene.ask(3)
    first = scene.mirror()
    drain(first)
    scene.ask(2)
    drain(scene.mirror(report=first.report))
    assert scene.log.logged == ["p0", "p1", "p2", "p3", "p4"]
    assert scene.opened[0] == {}
    assert scene.opened[1].keys() == {"serving-0"}


def test_requests_that_cannot_run_are_counted_with_the_reason(scene: Scene) -> None:
    id_ = scene.start()
    scene.runs.fault = "its file is gone"
    scene.ask(2)
    mirror = scene.mirror()
    drain(mirror)
    assert mirror.report.shadows[id_].note == "its file is gone"
    scene.runs.fault, scene.log.full = "", True
    scene.ask(3)
    drain(mirror)
    scene.log.full = False
    scene.ask(1)
    drain(mirror)
    counts = mirror.report.shadows[id_]
    assert (counts.events, counts.note) == (1, "")
    assert counts.skipped == {"failed": 2, "log full": 3}


@pytest.mark.parametrize("end", ["stop", "promote", "bar"])
def test_a_shadow_ends(scene: Scene, end: str) -> None:
    scene.start()
    mirror = scene.mirror()
    mirror.step()
    now = scene.clock.now + 1
    if end == "stop":
        scene.shadows.stop("m", "2", actor="ben", why="enough")
    else:
        row = HistoryRow(0, "m", "promoted", "2", now, "ben", "champion")
        if end == "bar":
            row = HistoryRow(0, "m", "barred", "2", now, "ben", digest="d2")
        scene.history.append("m", lambda _: [row])
    scene.ask(3)
    drain(mirror)
    assert scene.log.logged == []
    assert scene.history.state("m").shadows == mirror.report.shadows == {}
    with pytest.raises(UnknownVersion, match="version 2 of m is not a shadow; shadows: none"):
        scene.shadows.stop("m", "2", actor="ben")


@pytest.mark.parametrize(
    ("number", "alias", "share", "message"),
    [
        ("9", "champion", 1.0, "has no version '9'; versions: 1, 2"),
        ("1", "champion", 1.0, "champion of m is version 1, which answers the requests"),
        ("2", "next", 1.0, "next of m points to no version"),
        ("2", "champion", 0.0, "share 0: expected a number above 0 and at most 1"),
        ("2", "champion", float("nan"), "share nan: expected"),
    ],
)
def test_an_impossible_shadow_is_refused(
    scene: Scene, number: str, alias: str, share: float, message: str
) -> None:
    with pytest.raises((VersionRefused, UnknownVersion), match=message):
        scene.shadows.start("m", number, alias, share, actor="ann")


def test_a_version_has_at_most_one_shadow(scene: Scene) -> None:
    scene.start()
    with pytest.raises(VersionRefused, match="version 2 of m is already a shadow"):
        scene.start()
