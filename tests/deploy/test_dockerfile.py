"""The Dockerfile: linted, and what its images run is run here as processes."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.deploy.installed import install

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")


def _stage(name: str) -> dict[str, str]:
    """The last of each instruction that an image of this name has, its own and inherited ones."""
    found: dict[str, str] = {}
    begin = re.search(rf"^FROM (\S+) AS {name}$", TEXT, re.MULTILINE)
    assert begin, name
    if re.search(rf"^FROM \S+ AS {begin[1]}$", TEXT, re.MULTILINE):
        found = _stage(begin[1])
    body = TEXT[begin.end() :].split("\nFROM ")[0]
    for line in body.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word.isupper() and word != "ENV":
            found[word] = " ".join(rest.split())
        elif word == "ENV":
            found["ENV"] = f"{found.get('ENV', '')} {rest}"
    return found


def _words(stated: str) -> list[str]:
    return msgspec.json.decode(stated[stated.index("[") :], type=list[str])


def test_the_linter_has_nothing_to_say() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    said = subprocess.run(
        [linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (said.stdout, said.returncode) == ("", 0)


def test_every_file_that_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    for source in re.findall(r"^COPY (?!--from)(\S+)", TEXT, re.MULTILINE):
        assert (ROOT / source).exists()
        assert f"!{source.rstrip('/')}" in ignored


@pytest.mark.parametrize(
    ("name", "lock"), [("service", "service.lock"), ("monitor", "monitoring.lock")]
)
def test_an_image_is_given_its_lock_and_the_wheel(name: str, lock: str) -> None:
    built = re.search(rf"^FROM build AS build-{name}\n(.*?)^FROM ", TEXT, re.MULTILINE | re.DOTALL)
    assert built
    assert f"install --require-hashes -r requirements/{lock}" in built[1]
    assert "COPY --from=wheel /wheel /wheel" in built[1]
    assert "install --no-deps /wheel/*.whl" in built[1]


@pytest.mark.parametrize("name", ["service", "monitor", "forwarder", "tools"])
def test_an_image_has_no_root_and_stops_by_sigterm(name: str) -> None:
    stage = _stage(name)
    assert stage["USER"].isdigit()
    assert int(stage["USER"]) > 0
    assert stage["STOPSIGNAL"] == "SIGTERM"
    assert stage["VOLUME"] == "/var/lib/driftline"
    assert _words(stage["ENTRYPOINT"])[0] == "python"  # no shell that would keep the signal


@pytest.mark.parametrize(
    ("name", "port", "lock"),
    [("service", 3000, "service.lock"), ("monitor", 3100, "monitoring.lock")],
)
def test_what_an_image_runs_becomes_healthy_and_ends_when_asked(
    name: str, port: int, lock: str, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    python = install(lock, tmp_path / "installed")
    stage, here = _stage(name), str(free_port())
    command = [*_words(stage["ENTRYPOINT"]), *_words(stage["CMD"])]
    probe = [word.replace(str(port), here) for word in _words(stage["HEALTHCHECK"])]
    known = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "none")}
    environment = known | {
        "DRIFTLINE_HOME": str(tmp_path / "home"),
        "BENTOML_HOME": str(tmp_path / "home" / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "DO_NOT_TRACK": "1",
    }
    ports = ["--port", here]
    if name == "service":
        ports += ["--grpc-port", str(free_port())]
    empty = tmp_path / "elsewhere"
    empty.mkdir(mode=0o555)
    where = {"env": environment, "cwd": empty}
    run = [python, *command[1:], *ports, "--allow-anonymous"]
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(run, stdout=said, stderr=said, **where)
        try:
            deadline = time.monotonic() + 60
            ask = [python, *probe[1:]]
            while subprocess.run(ask, capture_output=True, check=False, **where).returncode:
                assert process.poll() is None, (tmp_path / "said").read_text()
                assert time.monotonic() < deadline
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            if process.poll() is None:
                process.kill()
    assert list(empty.iterdir()) == []
    written = {path.name for path in tmp_path.iterdir()}
    assert written <= {"home", "said", "elsewhere", "none", "installed"}
    shutil.rmtree(tmp_path / "home")


def test_the_tools_say_what_is_registered_where_only_their_lock_is_installed(
    tmp_path: Path,
) -> None:
    python = install("service.lock", tmp_path / "installed")
    stage = _stage("tools")
    command = [*_words(stage["ENTRYPOINT"])[1:], *_words(stage["CMD"])]
    environment = {
        "DRIFTLINE_HOME": str(tmp_path / "home"),
        "BENTOML_HOME": str(tmp_path / "home" / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    run = [python, *command]
    done = subprocess.run(
        run, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
