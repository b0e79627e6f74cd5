"""Loop of the scoring process: jobs from standard input, replies to standard output."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from eventlog.parent_death import end_with_parent
from eventlog.settings import Home, from_environment
from monitoring.baselines.files import BaselineFiles
from monitoring.score_jobs import ScoreJob, read, write
from monitoring.scoring.process import CANNOT_CONTINUE
from monitoring.scoring.report_retention import ReportRetention
from monitoring.scoring.window_scorer import ScorerCache, WindowScorer
from monitoring.settings import PREFIX, MonitorSettings, retention
from registry.errors import RegistryUnavailable
from registry.store import Registry


class ScoringLoop:
    """Scores jobs one at a time."""

    def __init__(self) -> None:
        """Reserve standard output for replies, and open the registry."""
        end_with_parent(signal.SIGKILL)  # an unfinished job leaves nothing to clean up
        # Output that a library prints goes to standard error, not between the replies.
        self._replies = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the monitor handles Ctrl-C
        room = from_environment(MonitorSettings, PREFIX).reference_values
        home = Home.from_environment()
        cache = ScorerCache(Registry(home), room, baselines=BaselineFiles(home.baselines))
        reports = Path(sys.argv[1])
        self._scorer = WindowScorer(cache, reports)
        self._report_retention = ReportRetention(reports, retention().reports_days)

    def run(self) -> None:
        """Score jobs until standard input closes."""
        with suppress(BrokenPipeError):  # the monitor has exited
            while (job := read(sys.stdin.buffer, ScoreJob)) is not None:
                try:
                    reply = self._scorer.score(job)
                except (MemoryError, RegistryUnavailable) as error:  # the monitor retries
                    sys.stderr.write(f"scoring: {error or type(error).__name__}\n")
                    sys.exit(CANNOT_CONTINUE)
                write(self._replies, reply)
                self._report_retention.delete_expired()
