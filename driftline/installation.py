"""The checks of `driftline doctor`; each changes nothing and states a remedy."""

import os
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import msgspec

from access.keyfile import KeyFile
from access.ports import Address, require_distinct, require_free
from driftline.database_revisions import CONNECT_S, read_revision
from driftline.port_owner import port_owner
from driftline.setting_catalogue import settings
from driftline.setting_names import misspelt
from driftline.setting_values import masked
from driftline.start_checks import check_monitor, check_service
from eventlog.errors import DriftlineError, SettingError
from eventlog.kafka_settings import KAFKA_PREFIX, KafkaSettings
from eventlog.process_lock import holder
from eventlog.settings import FORWARDER_PREFIX, ForwarderSettings, Home, fault, from_environment

State = Literal["ok", "warning", "failed"]

_LITTLE, _TOO_LITTLE = 2 << 30, 64 << 20  # free bytes on the disk, for a warning and a failure
_AHEAD_S = 60.0  # seconds by which the log may be newer than the clock
_ONNXRUNTIME = "1"  # tested major version


class CheckResult(msgspec.Struct, frozen=True):
    """The result of a check, with a remedy."""

    check: str
    state: State
    message: str
    remedy: str = ""


def check_settings(environ: Mapping[str, str]) -> Iterator[CheckResult]:
    """Find invalid values and misspelt variables."""
    wrong = misspelt(environ)
    for setting in settings():
        raw = environ.get(setting.variable)
        if raw is not None and (expected := fault(raw, setting.kind)):
            wrong.append(f"{setting.variable}: {masked(setting.variable, raw)!r}: {expected}")
    for text in wrong:
        yield CheckResult("settings", "failed", text, "correct or remove the variable")
    if not wrong:
        yield CheckResult("settings", "ok", "every variable is known and valid")


def check_home(home: Home) -> Iterator[CheckResult]:
    """Check the permissions of the home and its secret files, and the free space on its disk."""
    root = home.root
    if not root.exists():
        text = f"{root} does not exist yet"
        yield CheckResult(
            "home", "warning", text, "the first start creates it; or set DRIFTLINE_HOME"
        )
    elif not root.is_dir() or not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        remedy = f"chown or chmod u+rwx {root}, or set DRIFTLINE_HOME"
        yield CheckResult("home", "failed", f"{root} is not writable for this user", remedy)
    elif (mode := stat.S_IMODE(root.stat().st_mode)) & stat.S_IRWXO:
        state: State = "failed" if mode & stat.S_IWOTH else "warning"
        text = f"{root} is open to every user (mode {mode:o})"
        yield CheckResult("home", state, text, f"chmod o-rwx {root}")
    else:
        yield CheckResult("home", "ok", f"{root} belongs to this user (mode {mode:o})")
    for path in (root / "driftline.toml", KeyFile.of(home).path):
        if path.exists() and path.stat().st_mode & stat.S_IRWXO:
            yield CheckResult(
                "home", "warning", f"{path} can be read by every user", f"chmod o-rwx {path}"
            )
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    usage = shutil.disk_usage(place)
    text = f"{usage.free / (1 << 30):.1f} GiB of {usage.total / (1 << 30):.0f} GiB are free"
    state = "failed" if usage.free < _TOO_LITTLE else "warning" if usage.free < _LITTLE else "ok"
    remedy = "" if state == "ok" else "free space, or set DRIFTLINE_LOG_RETAIN_BYTES"
    yield CheckResult("disk", state, text, remedy)


def check_ports(home: Home) -> Iterator[CheckResult]:
    """Check that each port is free, or in use by this home's own process."""
    parts = list(_addresses())
    try:
        require_distinct([address for _, _, address in parts])
    except SettingError as error:
        yield CheckResult("ports", "failed", str(error), "choose another port")
        return
    for role, lock, address in parts:
        if running := holder(home.lock(lock)):
            yield CheckResult(
                "ports", "ok", f"{address}: used by the {role} of this home ({running})"
            )
            continue
        try:
            require_free([address])
        except SettingError as error:
            owner = port_owner(address.port)
            remedy = f"stop {owner or 'the process that uses it'}, or choose another port"
            yield CheckResult("ports", "failed", str(error), remedy)
        else:
            yield CheckResult("ports", "ok", f"{address} is free for the {role}")


def _addresses() -> Iterator[tuple[str, str, Address]]:
    """Yield role, lock and address of each port that the installed parts use."""
    try:
        from service.settings import PREFIX, read_settings  # noqa: PLC0415 - may not be installed

        settings = read_settings()
        ports = {
            "PORT": settings.port,
            "GRPC_PORT": settings.grpc_port,
            "ADMIN_PORT": settings.admin_port,
        }
        for name, port in ports.items():
            if port:
                yield "service", "service", Address(settings.host, port, f"{PREFIX}{name}")
    except ImportError:
        pass
    try:
        from monitoring.settings import PREFIX as MONITOR  # noqa: PLC0415
        from monitoring.settings import MonitorSettings  # noqa: PLC0415

        page = from_environment(MonitorSettings, MONITOR)
        yield "monitor", "monitor", Address(page.host, page.port, f"{MONITOR}PORT")
    except ImportError:
        pass
    metrics = from_environment(ForwarderSettings, FORWARDER_PREFIX)
    if metrics.metrics_port:
        name = f"{FORWARDER_PREFIX}METRICS_PORT"
        yield "forwarder", "forwarded", Address(metrics.metrics_host, metrics.metrics_port, name)


def check_starts(home: Home) -> Iterator[CheckResult]:
    """Run the checks that service and monitor run at start: secrets, certificates, stores."""
    for part, check in (("service", check_service), ("monitor", check_monitor)):
        try:
            check(home)
        except ImportError as error:
            text = f"{part} not checked: package {error.name} is not installed"
            yield CheckResult("start", "ok", text)
        except DriftlineError as error:
            remedy = f"correct this: the {part} does not start"
            yield CheckResult("start", "failed", str(error), remedy)
        else:
            text = f"{part}: secrets, certificates, webhooks and stores are usable"
            yield CheckResult("start", "ok", text)


def check_clock(home: Home, now: Callable[[], float] = time.time) -> Iterator[CheckResult]:
    """Compare the clock with the last write to the event log."""
    newest = max(_write_times(home.log), default=None)
    if newest is None:
        yield CheckResult("clock", "ok", "the event log is empty, so the clock cannot be checked")
    elif (ahead := newest - now()) > _AHEAD_S:
        text = f"the event log's last write is {ahead:.0f} s in the future: the clock was set back"
        yield CheckResult("clock", "failed", text, "synchronize the clock (NTP) before a start")
    else:
        yield CheckResult(
            "clock", "ok", f"the event log was last written {max(0, -ahead):.0f} s ago"
        )


def _write_times(folder: Path) -> Iterator[float]:
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # retention has deleted the file
            if path.is_file():
                yield path.stat().st_mtime


def check_kafka(environ: Mapping[str, str]) -> Iterator[CheckResult]:
    """Connect to Kafka, if it is configured, and compare the partitions of its topics."""
    reads = environ.get("DRIFTLINE_MONITOR_SOURCE") == "kafka"
    if not reads and not any(name.startswith(KAFKA_PREFIX) for name in environ):
        yield CheckResult("kafka", "ok", "not configured: the monitor reads the local log")
        return
    kafka = from_environment(KafkaSettings, KAFKA_PREFIX, environ)
    addresses = kafka.bootstrap_servers.split(",")
    if unreachable := [address for address in addresses if not _connects(address)]:
        down = len(unreachable) == len(addresses)
        text = f"no connection to {', '.join(unreachable)} within {CONNECT_S:g} s"
        remedy = f"start the broker, or correct {KAFKA_PREFIX}BOOTSTRAP_SERVERS"
        yield CheckResult("kafka", "failed" if down else "warning", text, remedy)
        if down:
            return
    from eventlog.kafka_topics import partition_counts  # noqa: PLC0415 - Kafka's client is slow to import

    yield check_topics(kafka, partition_counts(kafka, timeout_s=CONNECT_S))


def check_topics(kafka: KafkaSettings, counts: Mapping[str, int]) -> CheckResult:
    """Check that all topics exist, and that topics keyed by shard have equal partition counts."""
    if absent := [topic for topic, count in counts.items() if not count]:
        text = f"topics are missing: {', '.join(absent)}"
        return CheckResult("kafka", "failed", text, "driftline topics create")
    keyed = {topic: counts[topic] for topic in kafka.keyed_topics}
    if len({*keyed.values()}) > 1:
        text = ", ".join(f"{topic} has {count} partitions" for topic, count in keyed.items())
        remedy = (
            "give all of them the largest number, so that a shard has the same partition in each"
        )
        return CheckResult("kafka", "failed", text, remedy)
    text = f"reachable; {len(keyed)} topics have {next(iter(keyed.values()))} partitions each"
    return CheckResult("kafka", "ok", text)


def _connects(server: str) -> bool:
    host, _, port = server.strip().rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S):
            return True
    except (OSError, ValueError):
        return False


def check_databases(home: Home) -> Iterator[CheckResult]:
    """Read the revisions of the monitor's and the registry's database, without migrating them."""
    from monitoring.settings import database_address  # noqa: PLC0415 - imports SQLAlchemy
    from monitoring.storage import schema as monitor  # noqa: PLC0415
    from registry.history import schema as registry  # noqa: PLC0415
    from registry.settings import PREFIX, RegistrySettings  # noqa: PLC0415

    where = from_environment(RegistrySettings, PREFIX).registry or home.registry
    for name, place, table, newest in (
        ("monitor's database", database_address(home), monitor.VERSION_TABLE, monitor.REVISION),
        ("registry", where, registry.VERSION_TABLE, registry.REVISION),
    ):
        yield _database(name, place, table, newest)


def _database(name: str, place: Path | str, table: str, newest: str) -> CheckResult:
    shown = masked("", str(place))
    if isinstance(place, Path) and not place.exists():
        return CheckResult(name, "ok", f"{shown} does not exist yet")
    try:
        revision = read_revision(place, table)
    except Exception as error:  # noqa: BLE001 - the two drivers' errors have no common base
        text = f"{shown}: {' '.join(str(error).split())}"
        return CheckResult(name, "failed", text, "start the database, or correct its address")
    if revision == newest:
        return CheckResult(name, "ok", f"{shown} has revision {revision}")
    if revision > newest:
        text = f"{shown} has revision {revision}, newer than this release's {newest}"
        return CheckResult(name, "failed", text, "run the release that wrote it, or a newer one")
    text = f"{shown} has revision {revision or 'none'}, older than this release's {newest}"
    return CheckResult(
        name, "warning", text, "back it up: the next start migrates it, forward only"
    )


def check_keys(home: Home) -> Iterator[CheckResult]:
    """Check that the key file can be read and has a valid key."""
    file = KeyFile.of(home)
    stored_keys = file.require()
    if stored_keys is None:
        yield CheckResult("keys", "ok", "no keys: only callers on loopback are accepted")
        return
    live = sum(key.is_live(time.time()) for key in stored_keys)
    if live:
        yield CheckResult("keys", "ok", f"{file.path}: {live} of {len(stored_keys)} keys are valid")
    else:
        text = f"{file.path}: no key is valid, so no caller with a key is accepted"
        yield CheckResult("keys", "warning", text, "driftline keys create")


def check_versions(installed: Callable[[str], str] = version) -> Iterator[CheckResult]:
    """Compare the versions of libraries with the versions that the service was tested with."""
    from service.dependency_versions import TESTED  # noqa: PLC0415 - may not be installed

    for name, tested in {**TESTED, "onnxruntime": _ONNXRUNTIME}.items():
        try:
            release = installed(name)
        except PackageNotFoundError:
            remedy = "pip install 'driftline[service]'"
            yield CheckResult("versions", "warning", f"{name} is not installed", remedy)
            continue
        if not tested or f"{release}.".startswith(f"{tested}."):
            yield CheckResult("versions", "ok", f"{name} {release}")
        else:
            text = f"{name} {release} is installed, but Driftline is tested with {tested}"
            yield CheckResult("versions", "failed", text, f"pip install '{name}=={tested}.*'")


def findings(home: Home, environ: Mapping[str, str]) -> Iterator[CheckResult]:
    """Run every check; a check that cannot run also yields a result."""
    checks: dict[str, Callable[[], Iterator[CheckResult]]] = {
        "settings": lambda: check_settings(environ),
        "home": lambda: check_home(home),
        "ports": lambda: check_ports(home),
        "start": lambda: check_starts(home),
        "clock": lambda: check_clock(home),
        "kafka": lambda: check_kafka(environ),
        "databases": lambda: check_databases(home),
        "keys": lambda: check_keys(home),
        "versions": check_versions,
    }
    for name, check in checks.items():
        try:
            yield from check()
        except ImportError as error:
            yield CheckResult(name, "ok", f"not checked: package {error.name} is not installed")
        except (DriftlineError, OSError) as error:
            yield CheckResult(name, "failed", str(error), "correct this, then run doctor again")
