"""`driftline rollout status`: the awaited conditions with the monitor's figures."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from driftline.cli import driftline
from eventlog.settings import Home
from monitoring.presenter.rollout_waits import CurrentJudgement
from monitoring.rollouts.judgements import JudgementFile
from registry.history.rows import RolloutVerdict, VerdictPolicy
from registry.history.store import History
from registry.rollouts import Rollouts
from telemetry.clock import now_us

BOUNDS = {"errors": [0.002, 0.01], "latency": [0.0131, 0.01]}
COUNTS = {"errors": [0, 4_926, 0, 4_993], "latency": [52, 4_923, 45, 5_076]}


class Desk:
    """A rollout of version 2, and the file of a monitor's judgements."""

    def __init__(self, home: Home) -> None:
        self.history = History(home.registry)
        for number in "12":
            self.history.register("taxi", number, time=1, actor="ann", digest=f"d{number}")
        self.history.promote("taxi", "champion", "1", time=1, actor="ann")
        self.rollouts = Rollouts(self.history)
        self.file = JudgementFile(home)

    def start(self, policy: VerdictPolicy | None) -> None:
        self.rollouts.start(
            "taxi", "2", "champion", [0.5, 1.0], bake_s=60, actor="ann", policy=policy
        )

    def judge(self, refused: str = "", age_us: int = 0, counts: bool = True) -> None:
        judgement = CurrentJudgement(
            "latency", COUNTS if counts else {}, {}, BOUNDS, refused, now_us() - age_us
        )
        self.file.replace({self.history.state("taxi").rollouts["champion"].id: judgement})

    def status(self) -> str:
        result = CliRunner().invoke(driftline, ["rollout", "status", "taxi"])
        assert result.exit_code == 0, result
        return result.output


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    return Desk(Home(tmp_path))


def test_the_metric_without_a_result_is_named_with_its_figures(desk: Desk) -> None:
    desk.start(VerdictPolicy())
    assert "No running monitor has judged this step yet." in desk.status()
    desk.judge()
    shown = desk.status()
    assert (
        "Not enough data about slow answers: 52 of 4,923 keys prove a rate of at most 1.31%, but "
        "at most 1.00% is allowed (version 1: 45 of 5,076)." in shown
    )
    assert "failed requests" not in shown, "they show enough"
    assert "The step bakes until" in shown
    assert "pauses it if there is no verdict" in shown


def test_status_names_an_idle_arm_a_refusal_and_a_stopped_monitor(desk: Desk) -> None:
    desk.start(VerdictPolicy())
    desk.judge(counts=False, age_us=3_600_000_000)
    shown = desk.status()
    assert "The monitor has counted no request of this step yet." in shown
    assert "No monitor has judged this step since" in shown
    desk.file = JudgementFile(Home.from_environment())
    desk.judge(refused="it has 0 of 1 approvals for champion")
    assert "refused the verdict: it has 0 of 1 approvals for champion." in desk.status()


def test_a_paused_rollout_states_who_can_resume_it_and_its_expiry(desk: Desk) -> None:
    desk.start(VerdictPolicy())
    verdict = RolloutVerdict("pause", 0, "latency", COUNTS)
    desk.rollouts.pause("taxi", "champion", actor="monitor", verdict=verdict)
    assert "unless a person resumes or promotes the rollout before" in desk.status()
    desk.rollouts.resume("taxi", "champion", actor="ann")
    desk.rollouts.pause("taxi", "champion", actor="ann")
    assert "Paused: a person resumes, promotes or aborts it." in desk.status()


def test_without_a_verdict_policy_people_decide(desk: Desk) -> None:
    desk.start(None)
    assert "No verdict policy: people advance and end this rollout." in desk.status()
    desk.rollouts.abort("taxi", "champion", actor="ann", why="slow")
    assert "aborted: slow" in desk.status()


def test_a_backtest_of_a_missing_rollout_is_refused(desk: Desk) -> None:
    desk.status()
    result = CliRunner().invoke(driftline, ["rollout", "backtest", "taxi", "--version", "9"])
    assert result.exit_code != 0
    assert (
        "champion of taxi has had no rollout of version 9" in f"{result.exception}{result.output}"
    )
