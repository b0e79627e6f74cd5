"""Serve the status page in the process of `driftline monitor`."""

import socket
import time
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from access.authorizer import Authorizer
from access.connection_table import ConnectionLimits
from access.exposure import is_loopback
from access.keyfile import KeyFile
from access.oidc import configured_tokens
from access.open_files import affordable_connections, allow_open_files
from access.tls import Tls
from driftline.trace import read_trace
from eventlog.lag import ReaderLag
from eventlog.settings import LOG_PREFIX, Home, LogSettings, from_environment
from monitoring.baselines.files import BaselineFiles
from monitoring.partitions.shared import ScoringLags
from monitoring.review_desk.decision_log import LoggedDecisions
from monitoring.review_desk.leases import ReviewDesk
from monitoring.rollouts.judgements import JudgementFile
from monitoring.settings import MonitorSettings, database_address, split_list
from monitoring.storage.database import Database
from monitoring.storage.store import Store
from monitoring.web.app import app
from monitoring.web.approvals import ApprovalDesk
from monitoring.web.records import RecordDesk
from monitoring.web.retrain_loops import RetrainLoops
from monitoring.web.rollouts import RolloutDesk
from monitoring.web.server import serving
from monitoring.webhooks.approval_outbox import ApprovalOutbox
from monitoring.webhooks.delivery import Sender, approval_receiver, sender_thread
from registry.gates.reports import open_reports
from registry.pending_approvals import PendingApprovals
from registry.settings import open_history
from registry.shadow_report import read_report
from registry.store import Registry
from telemetry.clock import DAY, now_us


class LiveFigures(NamedTuple):
    """Figures that the page gets from the running monitor, not from its database."""

    reading: ReaderLag
    scoring: ScoringLags
    rollouts: JudgementFile


def _hosts(settings: MonitorSettings) -> list[str]:
    """Return the host names that requests to the page may use."""
    page_host = urlsplit(settings.page_url).hostname or ""
    return [*split_list(settings.page_hosts), page_host, settings.host, socket.gethostname()]


def _authorizer(home: Home, settings: MonitorSettings) -> Authorizer:
    return Authorizer(
        KeyFile.of(home),
        open_without_keys=is_loopback(settings.host)
        or settings.allow_anonymous
        or bool(settings.tls_client_ca),  # TLS then verifies every caller's certificate
        tokens=configured_tokens(),
    )


def start_page(
    resources: ExitStack, home: Home, settings: MonitorSettings, tls: Tls | None
) -> LiveFigures:
    """Serve the status page until `resources` closes, also while the database is unavailable."""
    live = LiveFigures(ReaderLag(time.time), ScoringLags(), JudgementFile(home))
    address = database_address(home)
    Database(address).close()  # raises SettingError for an invalid address
    history = open_history(home)
    pending = PendingApprovals(history)
    if (receiver := approval_receiver(settings)) is not None:
        outbox = ApprovalOutbox(home.approval_webhooks, pending, settings.page)
        resources.enter_context(sender_thread(lambda: Sender(outbox, receiver)))
    decisions = LoggedDecisions(home, from_environment(LogSettings, LOG_PREFIX))
    resources.callback(decisions.close)
    application = app(
        lambda: Store(address),
        home.reports,
        catalogue=Registry(home),
        hosts=_hosts(settings),
        authorizer=_authorizer(home, settings),
        progress=live.reading,
        scoring=live.scoring,
        baselines=BaselineFiles(home.baselines),
        desk=ApprovalDesk(history, open_reports(home), pending, Registry(home)),
        loops=RetrainLoops(history, int(settings.answer_within_days * DAY)),
        shadows=partial(read_report, home),
        comparisons=home.comparisons,
        rollout_desk=RolloutDesk(history, live.rollouts.read),
        records_desk=RecordDesk(history, partial(read_trace, home)),
        open_reviews=lambda: ReviewDesk(address, decisions, now_us),
    )
    limits = ConnectionLimits(
        affordable_connections(settings.max_connections, ports=1, allowed=allow_open_files()),
        settings.client_timeout_s,
    )
    resources.enter_context(serving(application, settings.host, settings.port, tls, limits))
    return live
