"""`driftline serve` exits with the reason if no worker can start."""

from collections.abc import Callable

from eventlog.settings import Home
from tests.driftline.conftest import Run


def test_serve_ends_with_the_reason_if_no_worker_can_start(
    run: Run, home: Home, free_port: Callable[[], int]
) -> None:
    home.root.mkdir(parents=True, exist_ok=True)
    home.workers.write_text("no folder")
    ended = run("serve", "--port", str(free_port()), "--grpc-port", str(free_port()))
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("driftline: no worker could start in 5 attempts: ")
    assert str(home.workers) in last
