"""The monitor's web application: pages, API, metrics and Evidently reports."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from access.authorizer import Authorizer
from access.browser_guard import BrowserGuard
from eventlog.lag import ReaderLag
from monitoring.baselines.files import BaselineFiles
from monitoring.comparisons import StoredComparisons
from monitoring.errors import DatabaseUnavailable
from monitoring.review_desk.leases import ReviewDesk
from monitoring.scoring.lag import ScoringLag
from monitoring.web import (
    api,
    api_description,
    approvals,
    column_page,
    comparison_pages,
    notes,
    pages,
    records,
    reports,
    review,
    rollouts,
    row_pages,
    silences,
    training_api,
    versions_page,
    window_comparison,
)
from monitoring.web.addresses import PlainPaths
from monitoring.web.approvals import ApprovalDesk
from monitoring.web.authentication import Authentication
from monitoring.web.browser_security import BrowserSecurity
from monitoring.web.distributions import References
from monitoring.web.queries import Queries
from monitoring.web.records import RecordDesk
from monitoring.web.retrain_loops import RetrainLoops
from monitoring.web.rollouts import RolloutDesk
from monitoring.web.time_zone import TimeZoneChoice
from registry.catalogue import Catalogue
from registry.errors import RegistryUnavailable
from registry.shadow_report import ShadowReport
from telemetry.release import release

STATIC = Path(__file__).parent / "static"


def app(  # noqa: PLR0913 - the page's ports, passed by name
    open_store: Callable[[], Queries],
    report_folder: Path,
    *,
    catalogue: Catalogue | None = None,
    hosts: Collection[str] = (),
    authorizer: Authorizer | None = None,
    progress: ReaderLag | None = None,
    scoring: ScoringLag | None = None,
    baselines: BaselineFiles | None = None,
    shadows: Callable[[], ShadowReport | None] = lambda: None,
    comparisons: Path | None = None,
    desk: ApprovalDesk | None = None,
    loops: RetrainLoops | None = None,
    rollout_desk: RolloutDesk | None = None,
    records_desk: RecordDesk | None = None,
    open_reviews: Callable[[], ReviewDesk | None] = lambda: None,
) -> Starlette:
    """Return the application.

    - `open_store`: called once, in the serving thread; all handlers read from this store
    - `report_folder`: folder of Evidently's reports
    - `catalogue`: registered versions; without it, only the monitor's data are shown
    - `hosts`: allowed host names, in addition to localhost and IP addresses; `*` allows any name
    - `authorizer`: checks API keys; without it, every client has access
    - `progress`, `scoring`: the lags of the consumer and of scoring, for health and metrics
    - `baselines`: learned baselines of versions without a reference
    - `shadows`: reads the latest report of the process that runs shadows
    - `comparisons`: folder of version comparisons
    - `desk`: approval requests
    - `loops`: retraining requests
    - `rollout_desk`, `records_desk`: rollouts; histories and traces
    - `open_reviews`: opens the review queue; called once
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, object]]:
        yield {"store": open_store(), "reviews": open_reviews()}

    routes = [
        *comparison_pages.routes(),
        *records.routes(),  # before pages.routes(), which would treat `history` as a version
        *pages.routes(),
        *api.routes(),
        *training_api.routes(),
        *reports.routes(),
        *approvals.routes(),
        *review.routes(),
        *rollouts.routes(),
        *silences.routes(),
        *notes.routes(),
        *row_pages.routes(),
        *versions_page.routes(),
        *column_page.routes(),
        *window_comparison.routes(),
    ]
    application = Starlette(
        routes=[
            *routes,
            *api_description.routes(release(), routes),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(PlainPaths),
            Middleware(TimeZoneChoice),
            Middleware(GZipMiddleware, minimum_size=1_000),
            Middleware(BrowserSecurity, guard=BrowserGuard(hosts, "DRIFTLINE_MONITOR_PAGE_HOSTS")),
            *([Middleware(Authentication, authorizer=authorizer)] if authorizer else []),
        ],
        exception_handlers={
            HTTPException: pages.problem,
            DatabaseUnavailable: pages.problem,
            RegistryUnavailable: pages.problem,
            500: pages.problem,
        },
        lifespan=lifespan,
    )
    application.state.catalogue = catalogue
    application.state.references = References(catalogue, baselines)
    application.state.reports = report_folder
    application.state.progress = progress
    application.state.scoring = scoring
    application.state.shadows = shadows
    application.state.comparisons = StoredComparisons(comparisons)
    application.state.approvals = desk
    application.state.loops = loops
    application.state.rollouts = rollout_desk
    application.state.records = records_desk
    application.state.pending = desk.pending if desk is not None else None
    return application
