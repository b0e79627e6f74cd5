"""Put load on a registered model and judge the result: `locust -f loadtests/locustfile.py`.

`driftline load` runs this file headless. DRIFTLINE_HOME and BENTOML_HOME locate the registered
models. DRIFTLINE_API_KEY contains a key with the scope `predict`, if the service requires keys.
"""

import logging
import sys
from pathlib import Path
from typing import Any

# Locust puts the current folder first in sys.path, and a service.py or registry/ there would be
# imported instead of ours.
sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

import gevent
import msgspec
from locust import LoadTestShape, events
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from eventlog.errors import DriftlineError, SettingError
from eventlog.settings import Home
from loadtests import logged_period, report, shapes, users
from loadtests.pulse import Pulse
from loadtests.traffic import GRPC_HOST, SECONDS, Traffic
from loadtests.users import Feedback, GrpcRaw, RestBinary, RestJson
from loadtests.verdict import Generator, Outcome
from loadtests.web_page import check_forms, listed_models
from registry.store import Registry

__all__ = ["Feedback", "GrpcRaw", "RestBinary", "RestJson", "Shape"]

_SPAWN_RATE = 100  # maximum new users per second; the shape decides their number
_BEGUN = "driftline_begun"  # message that a worker sends once its requests are prepared


class Shape(LoadTestShape):
    """Locust's load shape: the number of users over time, by the option --shape."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """Return users and spawn rate, or None at the end of the load."""
        assert self.runner is not None
        environment: Any = self.runner.environment
        if isinstance(self.runner, MasterRunner) and not environment.begun.issuperset(
            self.runner.clients
        ):
            self.reset_time()  # the load starts once all workers have prepared their requests
        options = environment.parsed_options
        traffic = getattr(environment, "traffic", None)  # absent in the master
        if traffic is not None and traffic.replay is not None:
            clients = options.num_users or 1
            return None if traffic.replay.finished else (clients, clients)
        seconds = float(options.run_time or SECONDS)
        passed = self.get_run_time() / seconds
        if passed >= 1:
            return None
        return shapes.users_at(options.shape, passed, options.num_users or 1), _SPAWN_RATE


@events.init_command_line_parser.add_listener
def _options(parser: Any) -> None:
    group = parser.add_argument_group("Driftline")
    add = group.add_argument
    add(
        "--model",
        default="",
        choices=listed_models(),
        help="Name of a registered model.  [the only registered model]",
    )
    add("--model-version", default="", help="Version number or alias.  [the champion]")
    add("--grpc-host", default=GRPC_HOST, help="host:port of the gRPC port.")
    add("--shape", choices=shapes.NAMES, default="steady", help="Number of users over time.")
    add("--rate", type=float, default=10.0, help="Requests per second and user; 0: no pause.")
    add("--p99-ms", type=float, default=100.0, help="Objective: p99 latency of predictions.")
    add("--max-error-share", type=float, default=0.001, help="Objective: share of failed requests.")
    add("--from-log", action="store_true", help="Send logged requests again.")
    add("--from", dest="log_from", default="", help="Start of the logged period, UTC.")
    add("--to", dest="log_to", default="", help="End of the logged period, UTC.  [now]")
    add("--last", default="", help=f"Length of the logged period.  [{logged_period.DEFAULT}]")
    add("--speed", type=float, default=1.0, help="Speed of logged requests; 2: twice as fast.")
    add("--warm-up", type=float, default=0.0, help="Seconds at the start that are not measured.")
    add("--measurements", default="", help="Write the measurements to this file, as JSON.")
    add("--monitored", action="store_true", help="Include the requests in the monitor's windows.")
    add("--shift", default="", help="Shift of columns: column=standard deviations, ...")
    add("--mix", default="", help="Rows that get a category: column=category:share, ...")
    add("--blank", default="", help="Rows whose value is removed: column=share, ...")


@events.init.add_listener
def _init(environment: Any, **_: Any) -> None:
    """Measure each process that sends requests; judge the load in the main process."""
    runner, hooks = environment.runner, environment.events
    environment.protocols = environment.user_classes
    pulse = Pulse()
    generators: dict[str, Generator] = {}  # by worker; "" is this process
    verdict: list[str] = []
    if isinstance(runner, MasterRunner):
        environment.begun = set()
        hooks.test_start.add_listener(lambda **_: environment.begun.clear())
        runner.register_message(_BEGUN, lambda msg, **_: environment.begun.add(msg.node_id))
        hooks.worker_report.add_listener(
            lambda client_id, data, **_: generators.update(
                {client_id: msgspec.convert(data["pulse"], Generator)} if "pulse" in data else {}
            )
        )
    else:
        environment.prepared = {}
        gevent.spawn(pulse.beat)
        hooks.test_start.add_listener(lambda **_: _begin(environment, pulse))
    if isinstance(runner, WorkerRunner):
        hooks.report_to_master.add_listener(
            lambda data, **_: data.update(pulse=msgspec.to_builtins(pulse.measured()))
        )
        return
    if isinstance(runner, LocalRunner):  # workers prepare their requests when the load starts
        _prepare(environment)
        if environment.web_ui is not None:
            check_forms(environment)
        hooks.test_stop.add_listener(lambda **_: generators.update({"": pulse.measured()}))
    hooks.quitting.add_listener(lambda **_: verdict.append(_conclude(environment, generators)))
    hooks.quit.add_listener(lambda **_: print(*verdict))  # after locust's tables


def _prepare(environment: Any) -> None:
    """Prepare the requests, or store the error that `_begin` will report."""
    options = environment.parsed_options
    environment.fault = ""
    try:
        if options.from_log and not isinstance(environment.runner, LocalRunner):
            raise SettingError("--from-log: one process sends logged requests; expected no workers")
        environment.user_classes = [users.Recorded] if options.from_log else environment.protocols
        environment.traffic = Traffic(Registry(Home.from_environment()), options)
    except DriftlineError as error:
        environment.traffic, environment.fault = None, f"driftline: {error}"
    environment.prepared = vars(options).copy()


def _begin(environment: Any, pulse: Pulse) -> None:
    """Start the clocks; if the preparation failed, stop the load."""
    # The form of the web page or the master can have changed the options.
    if environment.prepared != vars(environment.parsed_options):
        _prepare(environment)
    if environment.fault:
        environment.process_exit_code = Outcome.UNUSABLE
        if isinstance(environment.runner, WorkerRunner):
            print(environment.fault, flush=True)  # locust does not send the error to the master
        environment.runner.quit()
        return
    environment.traffic.begin()
    pulse.start()
    if isinstance(environment.runner, WorkerRunner):
        environment.runner.send_message(_BEGUN)


def _conclude(environment: Any, generators: dict[str, Generator]) -> str:
    if environment.process_exit_code == Outcome.UNUSABLE:
        logging.getLogger("locust.stats_logger").disabled = True  # its tables would be empty
        return str(environment.fault)
    verdict = report.conclude(environment, list(generators.values()))
    if file := getattr(environment.parsed_options, "measurements", ""):
        report.write_measurements(Path(file), environment, list(generators.values()))
    environment.process_exit_code = verdict.outcome
    page = getattr(environment.parsed_options, "html_file", None)
    if page:
        report.write_into(Path(page), verdict)
    return str(verdict)
