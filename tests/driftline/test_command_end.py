"""A finished command exits with its status, whatever native threads do."""

import subprocess
import sys

import pytest

SCRIPT = """
import atexit, ctypes, os, sys, threading, types
import click
from concurrent.futures import ThreadPoolExecutor
from driftline import cli

class Native:
    # As a native thread that outlives the interpreter.
    def __del__(self):
        os.abort()

module = types.ModuleType("onnxruntime")
module.threads = Native()
sys.modules["onnxruntime"] = module
atexit.register(lambda: print("at exit"))

def work():
    print("done")
    ThreadPoolExecutor(1).submit(print, "work of an executor that nobody shuts down").result()
    threading.Thread(target=lambda: print("thread ended")).start()
    {end}

cli.LazyGroup.get_command = lambda *_: click.Command("models", callback=work)
sys.argv = ["driftline", "models"]
cli.main()
"""


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("raise click.exceptions.Exit(4)", 4),
        ("raise click.ClickException('no')", 1),
        ("raise OSError(28, 'full')", 1),
    ],
)
def test_a_command_with_native_threads_ends_with_its_status(end: str, status: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(end=end)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == status, ended.stderr
    assert set(ended.stdout.splitlines()) == {
        "done",
        "work of an executor that nobody shuts down",
        "thread ended",
        "at exit",
    }
