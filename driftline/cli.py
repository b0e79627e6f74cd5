"""Define the `driftline` command, which imports a subcommand's module only to run it."""

import atexit
import importlib.util
import os
import sqlite3
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from driftline.terminal import escaped_streams

# This module imports no package of the server: the client can be installed without it.


class CommandSummary(NamedTuple):
    """A command: the module whose `commands()` provides it, and its line in `driftline --help`."""

    module: str
    summary: str
    extra: str = ""  # pip extra with the packages that the command needs


class NotInstalled(click.ClickException):
    """The command needs a package that is not installed or is shadowed by another package."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message in the same form as every expected error."""
        click.echo(f"driftline: {self.message}", file=file, err=True)


_REGISTRY, _LOG, _SERVICE, _MONITOR = "registry", "eventlog", "service", "monitoring"
_LOAD, _UP, _MLFLOW = "loadtests", "service,monitoring", "mlflow"
# For each extra, two packages whose presence shows that the extra is installed.
_MARKS = {
    _REGISTRY: ("registry", "bentoml"),
    _LOG: ("eventlog", "kafka"),
    _SERVICE: ("service", "grpc"),
    _MONITOR: ("monitoring", "standardwebhooks"),
    _LOAD: ("loadtests", "locust"),
    _MLFLOW: ("mlflow", "registry"),
}

# Summaries are written here so that `driftline --help` imports no command's module: some modules
# import libraries that need seconds and 200 MB.
COMMANDS = {
    "up": CommandSummary("driftline.up", "Run the service and the monitor until Ctrl-C.", _UP),
    "register": CommandSummary(
        "driftline.register_command", "Validate an ONNX model and store it as a version.", _REGISTRY
    ),
    "import": CommandSummary(
        "driftline.mlflow_import.commands", "Register a model of an MLflow registry.", _MLFLOW
    ),
    "follow": CommandSummary(
        "driftline.mlflow_import.commands", "Register new versions of an MLflow model.", _MLFLOW
    ),
    "export": CommandSummary(
        "driftline.mlflow_import.commands", "Write verdicts to MLflow as tags.", _MLFLOW
    ),
    "manifest": CommandSummary(
        "driftline.manifest", "Print the manifest that registration would infer.", _REGISTRY
    ),
    "provision": CommandSummary(
        "driftline.provision", "Register the models of a folder and set their aliases.", _REGISTRY
    ),
    "models": CommandSummary("driftline.models", "List models, versions and aliases.", _REGISTRY),
    "describe": CommandSummary(
        "driftline.describe", "Show or change owner and tags of a model.", _REGISTRY
    ),
    "promote": CommandSummary("driftline.promote", "Point an alias at a version.", _REGISTRY),
    "rollout": CommandSummary(
        "driftline.rollout", "Move requests to another version, step by step.", _REGISTRY
    ),
    "shadow": CommandSummary(
        "driftline.shadow", "Run a version on the champion's requests.", _REGISTRY
    ),
    "compare": CommandSummary(
        "driftline.compare", "Compare two versions on logged requests.", _MONITOR
    ),
    "predict": CommandSummary(
        "driftline.predict", "Predict the rows of files, resumable and in order.", _SERVICE
    ),
    "rollback": CommandSummary(
        "driftline.rollback", "Point an alias at its earlier version.", _REGISTRY
    ),
    "unbar": CommandSummary("driftline.rollback", "Allow barred content again.", _REGISTRY),
    "unload": CommandSummary(
        "driftline.promote", "Unload versions, or load them again.", _REGISTRY
    ),
    "schedule": CommandSummary(
        "driftline.schedule", "Request retraining at fixed times.", _REGISTRY
    ),
    "limits": CommandSummary("driftline.limits", "Show or change limits of versions.", _REGISTRY),
    "policy": CommandSummary("driftline.policy", "Show or change monitoring policies.", _REGISTRY),
    "review": CommandSummary(
        "driftline.review", "Export rows to label, and import their labels.", _MONITOR
    ),
    "gates": CommandSummary(
        "driftline.gates.commands", "Show or set the gates of a model.", _REGISTRY
    ),
    "golden": CommandSummary(
        "driftline.gates.golden", "Show or change the golden requests of a model.", _REGISTRY
    ),
    "gate": CommandSummary("driftline.gates.commands", "Run the gates of a version.", _MONITOR),
    "request": CommandSummary("driftline.approvals", "Ask for approval of a version.", _REGISTRY),
    "approve": CommandSummary("driftline.approvals", "Approve a version for an alias.", _REGISTRY),
    "reject": CommandSummary("driftline.approvals", "Reject a version; this is final.", _REGISTRY),
    "release-policy": CommandSummary(
        "driftline.approvals", "Show or set a model's release policy.", _REGISTRY
    ),
    "history": CommandSummary("driftline.audit", "Show every change of a model.", _REGISTRY),
    "audit": CommandSummary(
        "driftline.audit", "Verify or export the registry's history.", _REGISTRY
    ),
    "trace": CommandSummary(
        "driftline.trace", "Show the origin of a prediction and its consequences.", _REGISTRY
    ),
    "registry": CommandSummary(
        "driftline.registry_copy", "Copy the registry, or serve it to other machines.", _REGISTRY
    ),
    "baseline": CommandSummary(
        "driftline.baseline", "Show or choose the baseline of a version.", _MONITOR
    ),
    "serve": CommandSummary(
        "driftline.serve", "Serve the registered models over REST and gRPC.", _SERVICE
    ),
    "monitor": CommandSummary(
        "driftline.monitor", "Monitor the event log and serve the status page.", _MONITOR
    ),
    "status": CommandSummary(
        "driftline.status", "Show every model version and its alarms.", _REGISTRY
    ),
    "alarms": CommandSummary(
        "driftline.alarms", "List, acknowledge, resolve or silence alarms.", _REGISTRY
    ),
    "webhooks": CommandSummary(
        "driftline.webhooks", "List, test and resend retraining requests.", _MONITOR
    ),
    "deadletters": CommandSummary(
        "driftline.webhooks", "List records that the monitor dead-lettered.", _MONITOR
    ),
    "replay": CommandSummary("driftline.replay", "Recompute all windows from the log.", _MONITOR),
    "backtest": CommandSummary(
        "driftline.replay", "Show which alarms another policy would have raised.", _MONITOR
    ),
    "events": CommandSummary(
        "driftline.events", "Print, count, verify or export logged events.", _LOG
    ),
    "keys": CommandSummary("driftline.keys", "Create, list and revoke API keys.", _LOG),
    "load": CommandSummary("driftline.load", "Run a load test against a service.", _LOAD),
    "ledger": CommandSummary(
        "driftline.ledger", "Compare answered, logged and monitored events.", _LOG
    ),
    "probe": CommandSummary("driftline.probe", "Exit 0 if a URL returns 2xx, else 1."),
    "config": CommandSummary(
        "driftline.config", "Show every setting with its value and source.", _LOG
    ),
    "doctor": CommandSummary(
        "driftline.doctor", "Check this installation and recommend changes.", _LOG
    ),
    "upgrade": CommandSummary(
        "driftline.upgrade", "Show how this release would change databases and log.", _MONITOR
    ),
    "backup": CommandSummary(
        "driftline.backups.command",
        "Copy this installation while it runs, and verify the copy.",
        _MONITOR,
    ),
    "restore": CommandSummary(
        "driftline.backups.command", "Restore a backup as a new home.", _MONITOR
    ),
    "forward": CommandSummary("driftline.forward", "Forward the local log to Kafka.", _LOG),
    "topics": CommandSummary("driftline.forward", "Create the Kafka topics.", _LOG),
    "completion": CommandSummary(
        "driftline.completion", "Print the completion script of bash, zsh or fish."
    ),
}

_PARENT = "DRIFTLINE_PARENT_PID"  # eventlog.parent_death.PARENT
_THREADED = {"onnxruntime", "pyarrow", "grpc"}  # packages with native threads

_OWN = {"service", "monitoring", "registry", "access", "eventlog", "telemetry", "loadtests"}


class LazyGroup(click.Group):
    """A click group that imports a command's module only when the command is called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return every command, in the order in which a new user needs them."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the named command, or None."""
        if cmd_name not in COMMANDS:
            return None
        try:
            provided: list[click.Command] = importlib.import_module(
                COMMANDS[cmd_name].module
            ).commands()
        except ImportError as error:
            return _refusing_command(cmd_name, _missing(cmd_name, error))
        return next(command for command in provided if command.name == cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; raise NotInstalled if it imports a missing package."""
        try:
            return super().invoke(ctx)
        except ImportError as error:
            raise _missing(ctx.invoked_subcommand or "", error) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return matching commands and options, without importing a command."""
        items = [
            CompletionItem(name, help=entry.summary)
            for name, entry in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List every command with its summary, without importing it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _summary(entry)) for name, entry in COMMANDS.items()])


def _summary(entry: CommandSummary) -> str:
    marks = [mark for extra in filter(None, entry.extra.split(",")) for mark in _MARKS[extra]]
    if all(importlib.util.find_spec(mark) for mark in marks):
        return entry.summary
    return f"Not installed: {_install(entry)}."


def _install(entry: CommandSummary) -> str:
    return f"pip install 'driftline[{entry.extra}]'"


def _require_own(module: str) -> None:
    """Raise NotInstalled if another package of the same name shadows a package of Driftline."""
    package = module.partition(".")[0]
    spec = importlib.util.find_spec(package) if package in _OWN else None
    if spec is None:
        return
    root = Path(__file__).parents[1]
    places = [spec.origin, *(spec.submodule_search_locations or ())]
    place = next((place for place in places if place), "")
    if not Path(place).is_relative_to(root / package):
        raise NotInstalled(
            f"{place} shadows Driftline's package {package!r}: remove its folder from PYTHONPATH, "
            "or rename it"
        )


def _missing(command: str, error: ImportError) -> NotInstalled:
    """Return an error that names the missing package; re-raise an error with another cause."""
    _require_own(error.name or "")
    if not isinstance(error, ModuleNotFoundError) or command not in COMMANDS:
        raise error
    return NotInstalled(
        f"driftline {command}: package {error.name} is not installed: {_install(COMMANDS[command])}"
    )


def _refusing_command(command: str, missing: NotInstalled) -> click.Command:
    """Return a command that reports the missing package: images contain only what they run."""

    def refuse() -> None:
        raise missing

    options = {
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "allow_interspersed_args": False,
    }
    return click.Command(
        command,
        callback=refuse,
        help=f"Not installed: {_install(COMMANDS[command])}.",
        context_settings=options,
    )


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="driftline")
def driftline() -> None:
    """Serve ONNX models, log every prediction and detect drift."""
    # A client without the server's packages has no settings.
    if (path := settings_file()) and importlib.util.find_spec("eventlog"):
        from driftline.setting_file import apply_file  # noqa: PLC0415 - only if a file exists

        apply_file(path, os.environ)


def settings_file() -> Path | None:
    """Return the settings file: DRIFTLINE_CONFIG, else the home's, or None if there is no file."""
    if (named_file := os.environ.get("DRIFTLINE_CONFIG")) is not None:
        return Path(named_file).expanduser().absolute() if named_file else None
    # The same rules as eventlog.settings.Home, but without an error if the home does not exist or
    # cannot be read.
    home = os.path.expanduser(os.environ.get("DRIFTLINE_HOME", "~/.driftline"))  # noqa: PTH111
    path = Path(home).absolute() / "driftline.toml"
    return path if os.path.exists(path) else None  # noqa: PTH110 - raises no error


def main() -> None:
    """Run the command and exit; files that it writes are readable only by its user."""
    os.umask(0o077)
    if _PARENT in os.environ:
        from eventlog.parent_death import end_with_parent  # noqa: PLC0415 - needed in child processes only

        end_with_parent()
    try:
        run()
    except SystemExit as ended:
        _exit_process(ended.code)
        raise
    _exit_process(0)


def _exit_process(status: object) -> None:
    """Exit without unloading native libraries whose threads still run.

    ONNX Runtime and Arrow stop their threads while the interpreter unloads them, which sometimes
    aborts a finished command.
    """
    if not _THREADED & sys.modules.keys() or not isinstance(status, int | None):
        return
    # The interpreter does the same at exit: stop idle executor threads, wait for other threads.
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status or 0)


def run() -> None:
    """Run the command; print an expected error as one line, without a traceback."""
    with escaped_streams():
        _run()


def _run() -> None:
    try:
        # A command that raises `Exit(1)` returns 1 here; other commands return None.
        status = driftline(standalone_mode=False)
        if isinstance(status, int) and status:
            sys.exit(status)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of the output has exited, for example `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if not _is_expected(error):
            raise
        click.echo(f"driftline: {_explain(error)}", err=True)
        sys.exit(1)


def _is_expected(error: Exception) -> bool:
    """Return whether the error is a DriftlineError or an error of files and databases."""
    errors = sys.modules.get("eventlog.errors")  # None if no DriftlineError was raised
    return isinstance(error, OSError | sqlite3.DatabaseError) or (
        errors is not None and isinstance(error, errors.DriftlineError)
    )


def _explain(error: Exception) -> str:
    """Describe an exception and its file on one line."""
    if isinstance(error, OSError) and error.strerror:
        place = error.filename2 or error.filename
        return f"{place}: {error.strerror}" if place else error.strerror
    if isinstance(error, OSError | sqlite3.DatabaseError):
        return " ".join(str(error).split()) or type(error).__name__
    return str(error)
