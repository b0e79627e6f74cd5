"""The whole loop on real flights, run by `make run`.

The program trains, registers and promotes the model, starts the service and the monitor, and
replays the following months as traffic. It answers every retraining request of the monitor: a new
version is trained, registered, gated and rolled out, and the monitor promotes it or rolls it back.
Afterwards, the status page stays available until Ctrl-C, or the program exits with `--exit`.
"""

import argparse
import asyncio
import base64
import os
import secrets
import shutil
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import data
import grpc.aio
import train
from closed_loop import ClosedLoop, Month, summary
from replay import MODEL, Flight, flights, replay, transports
from retrainer import Retrainer, describe
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from access.ports import Address, require_free
from driftline.supervisor import Supervisor
from driftline.up import addresses, children
from eventlog.errors import SettingError
from eventlog.settings import Home
from monitoring.settings import database_address
from monitoring.storage.store import Store
from registry.manifest import Manifest
from registry.store import Registry

HERE = Path(__file__).parent
REST_PORT, GRPC_PORT, MONITOR_PORT, RETRAINER_PORT = 3000, 8001, 3100, 3200
PAGE = f"http://127.0.0.1:{MONITOR_PORT}"
APRIL = int(datetime(2013, 4, 1, 4, tzinfo=UTC).timestamp() * 1e6)  # midnight in New York

console = Console()


def main() -> int:
    """Run the example; return the exit status."""
    parser = argparse.ArgumentParser(description="The whole loop on real flights.")
    parser.add_argument("--every", type=int, default=1, help="replay only every n-th flight")
    parser.add_argument("--frozen", action="store_true", help="answer no retraining request")
    parser.add_argument("--exit", action="store_true", help="exit after the replay")
    options = parser.parse_args()

    try:  # first, because the next step empties the home of an earlier run, which may be running
        parts = addresses(REST_PORT, GRPC_PORT, MONITOR_PORT)
        require_free([*parts, Address("127.0.0.1", RETRAINER_PORT, "the example's retrainer")])
    except SettingError as error:
        parser.error(str(error))
    home = _fresh_home()
    manifest = _register(home)
    frame = data.load()
    arrived = train.arrived(frame)
    traffic = flights(frame, manifest)
    traffic = [flight for flight in traffic if flight.event_time >= APRIL][:: options.every]

    closed = ClosedLoop(home, MODEL, arrived, console.print)
    retrainer = _start_retrainer(None if options.frozen else closed)
    try:
        return asyncio.run(_loop(home, manifest, traffic, closed, stay=not options.exit))
    finally:
        retrainer.shutdown()


def _fresh_home() -> Home:
    """Create an empty home, because replayed flights would be late in an earlier run's windows."""
    root = Home.from_environment().root / "flights"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    os.environ["DRIFTLINE_HOME"] = str(root)
    os.environ["BENTOML_HOME"] = str(root / "bentoml")
    # Small segments of a few days, so that a replay gate can skip the months before its period.
    os.environ["DRIFTLINE_LOG_SEGMENT_BYTES"] = str(4 << 20)
    return Home(root)


def _register(home: Home) -> Manifest:
    with console.status("Training on January to March 2013 ..."):
        train.main()
    registry = Registry(home)
    version = registry.register(
        HERE / "build" / "model.onnx",
        model=MODEL,
        manifest=HERE / "manifest.yaml",
        reference=HERE / "build" / "reference.parquet",
        actor="make run",
    )
    registry.promote(MODEL, version.number, actor="make run")
    console.print(f"Registered {MODEL} version {version.number} and promoted it to champion.")
    return version.manifest


def _start_retrainer(closed: ClosedLoop | None) -> Retrainer:
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    os.environ["DRIFTLINE_MONITOR_WEBHOOK_URL"] = f"http://127.0.0.1:{RETRAINER_PORT}/"
    os.environ["DRIFTLINE_MONITOR_WEBHOOK_SECRETS"] = secret
    os.environ["DRIFTLINE_MONITOR_WEBHOOK_ALLOWED_HOSTS"] = "127.0.0.1"

    def received(request: dict[str, Any]) -> None:
        console.print(Panel(describe(request), title="signed webhook received", expand=False))
        if closed is not None:
            closed.requested(request)

    server = Retrainer(RETRAINER_PORT, secret, received)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


async def _loop(
    home: Home, manifest: Manifest, traffic: list[Flight], closed: ClosedLoop, *, stay: bool
) -> int:
    parts = children(REST_PORT, GRPC_PORT, MONITOR_PORT)
    log = home.root / "up.log"
    supervisor = Supervisor(parts, console.print, grace=20, output=log.open("wb"))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
    running = asyncio.create_task(supervisor.run())
    if await supervisor.ready():
        console.print(f"Serving on http://127.0.0.1:{REST_PORT} and gRPC {GRPC_PORT}.")
        console.print(f"Status page: [bold]{PAGE}[/bold]")
        replay_task = asyncio.create_task(_replay_and_report(manifest, traffic, closed))
        await asyncio.wait([replay_task, running], return_when=asyncio.FIRST_COMPLETED)
        replay_task.cancel()
        if replay_task.done() and not replay_task.cancelled():
            try:
                replay_task.result()
            except (aiohttp.ClientError, grpc.aio.AioRpcError) as error:
                # Also after Ctrl-C, which stops the service during requests.
                console.print(f"The replay ended early: {error}. The service's log: {log}")
                supervisor.stop()
                return await running or 1
            if stay:
                console.print(f"The status page stays available until Ctrl-C: [bold]{PAGE}[/bold]")
                console.print("To use driftline in another terminal, run in this folder:")
                console.print(
                    f"  . .venv/bin/activate && export DRIFTLINE_HOME={home.root}", soft_wrap=True
                )
            else:
                supervisor.stop()
    else:
        console.print(f"The reason is in {log}.")
    return await running


async def _replay_and_report(manifest: Manifest, traffic: list[Flight], closed: ClosedLoop) -> None:
    async def answer_requests() -> None:
        closed.report_verdicts()
        if not closed.idle:
            await asyncio.to_thread(closed.roll_out)

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Replaying flights", total=len(traffic))

        def after_hour(count: int, time: int) -> None:
            day = datetime.fromtimestamp(time / 1e6, UTC)
            progress.update(task, advance=count, description=f"Replaying {day:%d %B %Y}")

        async with transports(manifest, REST_PORT, GRPC_PORT) as (rest, grpc):
            labels = await replay(traffic, [rest, grpc], rest, after_hour, answer_requests)
    console.print(f"{len(traffic):,} predictions requested, {labels:,} labels sent.")
    comparison = asyncio.create_task(asyncio.to_thread(closed.months))  # in parallel with the wait
    await _until_monitored(len(traffic) + labels)
    closed.report_verdicts()
    months = await comparison
    console.print(_table(months))
    console.print(summary(months))


def _table(months: list[Month]) -> Table:
    """Return a table of the first version's scores next to the scores of the answering versions."""
    table = Table(title="Version 1 and the closed loop, on the same flights")
    for name in ("month", "version", "ROC AUC, v1", "ROC AUC, loop", "cost, v1", "cost, loop"):
        table.add_column(name, justify="left" if name in {"month", "version"} else "right")
    for name, versions, *figures in months:
        table.add_row(name, versions, *(f"{figure:.3f}" for figure in figures))
    return table


async def _until_monitored(events: int) -> None:
    """Wait until the monitor has ingested and scored everything, then print its alarms."""
    store = Store(database_address(Home.from_environment()))
    with console.status("The monitor is finishing ..."):
        while not _done(store.totals(), events):  # noqa: ASYNC110 - polls another process's file
            await asyncio.sleep(0.5)
    lost = sum(ledger.lost for ledger in store.ledger())
    console.print(f"answered = logged = monitored = {events:,}; lost {lost}")
    for alarm in reversed(store.alarms()):
        console.print(f"[bold]{alarm.rule} alarm[/bold], {alarm.state}: {alarm.sentence}")


def _done(totals: dict[str, int], events: int) -> bool:
    return totals.get("monitored_events", 0) >= events and totals["waiting_scores"] == 0


if __name__ == "__main__":
    sys.exit(main())
