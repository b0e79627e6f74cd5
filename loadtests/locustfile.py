"""Put load on a registered model and judge the result: `locust -f loadtests/locustfile.py`.

`driftline load` runs this headless. Environment: DRIFTLINE_HOME and BENTOML_HOME locate the
registered models; DRIFTLINE_API_KEY holds a key with the scope `predict`.
"""

import logging
import sys
from pathlib import Path
from typing import Any

# Locust puts the current folder first, whose own service.py or registry/ is none of ours.
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
from loadtests.web_page import listed_models, refuse_unfit
from registry.store import Registry

__all__ = ["Feedback", "GrpcRaw", "RestBinary", "RestJson", "Shape"]

_SPAWN_RATE = 100  # most new users per second; the shape decides their number
_BEGUN = "driftline_begun"  # message of a worker whose requests are prepared


class Shape(LoadTestShape):
    """Return the number of users that the chosen shape has at each moment."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """Return users and spawn rate, or None at the end of the load."""
        assert self.runner is not None
        environment: Any = self.runner.environment
        if isinstance(self.runner, MasterRunner) and not environment.begun.issuperset(
            self.runner.clients
        ):
            self.reset_time()  # workers are still preparing requests: the load has not begun
        options = environment.parsed_options
        traffic = getattr(environment, "traffic", None)  # of a process that sends requests
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
        help="A registered model; the only one if there is one.",
    )
    add("--model-version", default="", help="A number or an alias.  [the champion]")
    add("--grpc-host", default=GRPC_HOST, help="host:port of gRPC.")
    add("--shape", choices=shapes.NAMES, default="steady", help="The course of the load.")
    add("--rate", type=float, default=10.0, help="Requests a second of each user; 0: no pause.")
    add("--p99-ms", type=float, default=100.0, help="Objective for predictions.")
    add("--max-error-share", type=float, default=0.001, help="Objective for all requests.")
    add("--from-log", action="store_true", help="Send the requests of the log once more.")
    add("--from", dest="log_from", default="", help="Start of the logged period, UTC.")
    add("--to", dest="log_to", default="", help="End of the logged period, UTC.  [now]")
    add("--last", default="", help=f"Length of the logged period.  [{logged_period.DEFAULT}]")
    add("--speed", type=float, default=1.0, help="2 sends logged requests twice as fast.")
    add("--warm-up", type=float, default=0.0, help="Seconds at the start that are not measured.")
    add("--measurements", default="", help="Write what was measured to this file, as JSON.")
    add("--monitored", action="store_true", help="Have the monitor count the requests.")
    add("--shift", default="", help="column=standard deviations, ...")
    add("--mix", default="", help="column=category:share, ...")
    add("--blank", default="", help="column=share, ...")


@events.init.add_listener
def _init(environment: Any, **_: Any) -> None:
    """Install a pulse in each process that sends requests; let the main process judge the load."""
    runner, hooks = environment.runner, environment.events
    environment.protocols = environment.user_classes
    pulse = Pulse()
    heard: dict[str, Generator] = {}
    conclusion: list[str] = []
    if isinstance(runner, MasterRunner):
        environment.begun = set()
        hooks.test_start.add_listener(lambda **_: environment.begun.clear())
        runner.register_message(_BEGUN, lambda msg, **_: environment.begun.add(msg.node_id))
        hooks.worker_report.add_listener(
            lambda client_id, data, **_: heard.update(
                {client_id: msgspec.convert(data["pulse"], Generator)} if "pulse" in data else {}
            )
        )
    else:
        environment.prepared = {}
        gevent.spawn(pulse.beat)
        hooks.test_start.add_listener(lambda **_: _begin(environment, pulse))
    if isinstance(runner, WorkerRunner):
        hooks.report_to_master.add_listener(
            lambda data, **_: data.update(pulse=msgspec.to_builtins(pulse.taken()))
        )
        return
    if isinstance(runner, LocalRunner):  # workers prepare when the load starts
        _prepare(environment)
        if environment.web_ui is not None:
            refuse_unfit(environment)
        hooks.test_stop.add_listener(lambda **_: heard.update({"": pulse.taken()}))
    hooks.quitting.add_listener(lambda **_: conclusion.append(_conclude(environment, heard)))
    hooks.quit.add_listener(lambda **_: print(*conclusion))  # after locust's tables


def _prepare(environment: Any) -> None:
    """Prepare the requests; store an error for `_begin`, which reports it."""
    options = environment.parsed_options
    environment.fault = ""
    try:
        if options.from_log and not isinstance(environment.runner, LocalRunner):
            raise SettingError("--from-log: one process sends the requests; expected no workers")
        environment.user_classes = [users.Recorded] if options.from_log else environment.protocols
        environment.traffic = Traffic(Registry(Home.from_environment()), options)
    except DriftlineError as error:
        environment.traffic, environment.fault = None, f"driftline: {error}"
    environment.prepared = vars(options).copy()


def _begin(environment: Any, pulse: Pulse) -> None:
    """Start the clocks; on an error of the preparation, end the load instead."""
    if environment.prepared != vars(environment.parsed_options):  # changed by web UI or master
        _prepare(environment)
    if environment.fault:
        environment.process_exit_code = Outcome.UNUSABLE
        if isinstance(environment.runner, WorkerRunner):
            print(environment.fault, flush=True)  # the master does not receive the error
        environment.runner.quit()
        return
    environment.traffic.begin()
    pulse.start()
    if isinstance(environment.runner, WorkerRunner):
        environment.runner.send_message(_BEGUN)


def _conclude(environment: Any, heard: dict[str, Generator]) -> str:
    if environment.process_exit_code == Outcome.UNUSABLE:
        logging.getLogger("locust.stats_logger").disabled = True  # its tables would be empty
        return str(environment.fault)
    verdict = report.conclude(environment, list(heard.values()))
    if file := getattr(environment.parsed_options, "measurements", ""):
        report.write_measurements(Path(file), environment, list(heard.values()))
    environment.process_exit_code = verdict.outcome
    page = getattr(environment.parsed_options, "html_file", None)
    if page:
        report.write_into(Path(page), verdict)
    return str(verdict)
