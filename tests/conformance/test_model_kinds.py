"""Every kind of model is registered from its file, answered bit for bit, and monitored.

The table of docs/model-kinds.md lists these kinds. `python -m tests.conformance.test_model_kinds`
writes it, with the libraries that are installed.
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from monitoring.storage.store import Store
from registry.batching import one_by_one, read_verdict
from registry.encoded_files import encode_wav, file_inputs
from registry.features import signature
from registry.generated_rows import declared, generate_rows
from registry.images import encode_png
from registry.manifest import TensorSpec, Version
from registry.onnx_file import load
from registry.policies import PolicyChange
from registry.rows import FREE, batch_dimension
from registry.store import Registry
from tests import preloaded
from tests.conformance.estimator_kinds import ESTIMATORS
from tests.conformance.model_kinds import GRAPHS, Feed, named
from tests.depth import NIGHTLY, by_depth
from tests.service.conftest import Service
from tests.tiny_model import register_served

sys.path += filter(None, [os.environ.get("DRIFTLINE_CONVERTERS")])  # a folder of libraries
PAGE = Path(__file__).parents[2] / "docs" / "model-kinds.md"
KINDS = {
    name: kind
    for name, kind in named([*GRAPHS, *ESTIMATORS]).items()
    if not kind.needs or importlib.util.find_spec(kind.needs)
}
WATCHED = list(KINDS)[:: 1 if NIGHTLY else 7]
REGISTERED = datetime(2026, 1, 1, tzinfo=UTC)
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
POLICY = {
    "window": {"length": 3600, "grace": 0},
    "baseline": {"windows": 1, "min_rows": 100},
    "alarms": {"min_rows": 50},
}
HOURS = [120, 60, 60, 60, 1]  # rows; the first hour is the baseline, the last one closes
CHANGED = {2, 3}  # hours whose inputs are others

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Service]:
    """A service of every kind, each registered by its file alone."""
    root = tmp_path_factory.mktemp("kinds")
    with Service(root, free_port) as service:
        registry = Registry(service.home, clock=lambda: int(REGISTERED.timestamp() * 1e9))
        for name, kind in KINDS.items():
            register_served(registry, kind.build(), model=name)
            registry.change_policy(name, "", PolicyChange(POLICY, "hours for a test"))
        service.start()
        yield service


def _version(service: Service, name: str) -> Version:
    return service.registry.version(name, "1")


def _file(version: Version) -> bytes:
    return (Path(version.path) / "model.onnx").read_bytes()


def _feed(version: Version, rows: int, seed: int) -> Feed:
    files = file_inputs(_file(version))
    return next(generate_rows(declared(signature(version.manifest).inputs), rows, files, seed))


def _expected(version: Version, feed: Feed) -> dict[str, Array]:
    extended = version.manifest.session.extensions
    session = load(_file(version), threads=1, extensions=extended)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def _inputs(module: Any, version: Version, feed: Feed, **how: Any) -> list[Any]:
    found = []
    for spec in signature(version.manifest).inputs:
        found.append(module.InferInput(spec.name, list(feed[spec.name].shape), spec.datatype))
        found[-1].set_data_from_numpy(feed[spec.name], **how)
    return found


def _http(service: Service, version: Version, feed: Feed, binary: bool) -> Any:
    client = triton_http.InferenceServerClient(f"127.0.0.1:{service.port}")
    wanted = [
        triton_http.InferRequestedOutput(spec.name, binary_data=binary)
        for spec in signature(version.manifest).outputs
    ]
    inputs = _inputs(triton_http, version, feed, binary_data=binary)
    return client.infer(version.model, inputs, outputs=wanted)


def _grpc(service: Service, version: Version, feed: Feed) -> Any:
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{service.grpc_port}") as client:
        return client.infer(version.model, _inputs(triton_grpc, version, feed))


WAYS: dict[str, Callable[[Service, Version, Feed], Any]] = {
    "JSON": lambda service, version, feed: _http(service, version, feed, binary=False),
    "binary": lambda service, version, feed: _http(service, version, feed, binary=True),
    "gRPC": _grpc,
}


def _bits(array: Array) -> tuple[Any, ...]:
    if array.dtype == object:
        texts = [one.decode() if isinstance(one, bytes) else str(one) for one in array.ravel()]
        return (array.shape, texts)
    return (array.dtype, array.shape, array.tobytes())


# tritonclient writes no FP16 as JSON.
CALLS = [(name, way) for name in KINDS for way in WAYS if (name, way) != ("half-precision", "JSON")]


@pytest.mark.parametrize(("name", "way"), CALLS)
def test_every_transport_returns_onnx_runtimes_bits(running: Service, name: str, way: str) -> None:
    version = _version(running, name)
    feed = _feed(version, 3, seed=7)
    result = WAYS[way](running, version, feed)
    for output, expected in _expected(version, feed).items():
        assert _bits(result.as_numpy(output)) == _bits(expected), output


def _changed(version: Version, feed: Feed) -> Feed:
    """Return inputs as after a fault of what sends them: brighter, longer, of one kind."""
    files = file_inputs(_file(version))
    return {name: _moved(array, files.get(name, frozenset())) for name, array in feed.items()}


def _moved(array: Array, kinds: frozenset[Any]) -> Array:
    if kinds:
        black = encode_png(np.zeros((64, 64, 3), np.uint8))
        content = encode_wav(np.zeros(4_000), 8_000) if kinds == {"audio"} else black
        return np.frombuffer(content, np.uint8)
    if array.dtype == object:
        longer = [f"{text} in the rain of autumn" for text in array.ravel()]
        return np.array(longer, object).reshape(array.shape)
    if array.dtype.kind == "f":
        return np.asarray(array + 3, array.dtype)
    return array // 4 if array.dtype == np.uint8 else np.ones_like(array)


def _rows(version: Version) -> int:
    """Return the rows of one request: as many as an hour has, where the model takes them."""
    found = signature(version.manifest)
    size = batch_dimension(found)
    return 60 if size == FREE else size or 1


def _send(service: Service, version: Version) -> None:
    client = triton_http.InferenceServerClient(f"127.0.0.1:{service.port}")
    rows, seed = _rows(version), 0
    for hour, wanted in enumerate(HOURS):
        time = (BEGIN + timedelta(hours=hour, minutes=1)).isoformat()
        for _ in range(0, wanted, rows):
            seed += 1
            feed = _feed(version, min(rows, wanted), seed)
            feed = _changed(version, feed) if hour in CHANGED else feed
            inputs = _inputs(triton_http, version, feed)
            client.infer(version.model, inputs, parameters={"event_time": time})


@pytest.fixture(scope="module")
def watched(running: Service, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """What the monitor found in five hours of every watched kind."""
    for name in WATCHED:
        _send(running, _version(running, name))
    into = tmp_path_factory.mktemp("watched")
    hours = ["--from", f"{BEGIN:%Y-%m-%d}", "--to", f"{BEGIN + timedelta(days=1):%Y-%m-%d}"]
    command = [sys.executable, "-m", "driftline", "replay", "--into", str(into), *hours]
    done = preloaded.run(command, env=running.environment, timeout=by_depth(550, 3_000))
    assert done.returncode == 0, done.stdout + done.stderr
    return Store(into / "monitor.db")


def _verdicts(watched: Store, name: str) -> list[str]:
    begins = [int((BEGIN + timedelta(hours=hour)).timestamp() * 1e6) for hour in range(4)]
    verdicts = {result.window.start: result.verdict for result in watched.results(name, "1")}
    return [verdicts[begin] for begin in begins]


@pytest.mark.parametrize("name", WATCHED)
def test_a_change_of_the_inputs_raises_an_alarm(watched: Store, name: str) -> None:
    learned, _, *changed = _verdicts(watched, name)
    assert learned == "learning"
    assert changed == ["drifted", "drifted"]
    alarms = [(one.rule, one.state) for one in watched.alarms() if one.model == name]
    assert alarms == [("drift", "firing")]


def test_an_hour_like_the_baseline_is_calm(watched: Store) -> None:
    # By chance one window in ten is drifted; an alarm takes two in a row.
    calm = [_verdicts(watched, name)[1] for name in WATCHED].count("ok")
    assert calm >= 0.7 * len(WATCHED)


def test_the_page_lists_the_kinds() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][2:]
    shown = [line.split("|")[1].strip() for line in rows]
    assert shown == [kind.name for kind in [*GRAPHS, *ESTIMATORS]]


def test_the_page_states_what_registration_found(running: Service) -> None:
    lines = set(PAGE.read_text().splitlines())
    assert [line for line in _table(running.registry, KINDS) if line not in lines] == []


def _table(registry: Registry, kinds: Mapping[str, Any]) -> Iterator[str]:
    for name, kind in kinds.items():
        version = registry.version(name, "1")
        found = signature(version.manifest)
        cells = [
            kind.name,
            kind.made_with,
            _shapes(found.inputs),
            _shapes(found.outputs),
            version.manifest.task,
            _requests(version),
        ]
        yield f"| {' | '.join(cells)} |"


def _shapes(specs: list[TensorSpec]) -> str:
    groups: dict[str, int] = {}
    for spec in specs:
        sizes = ", ".join("any" if size == FREE else str(size) for size in spec.shape)
        shape = f"{spec.datatype} [{sizes}]"
        groups[shape] = groups.get(shape, 0) + 1
    return ", ".join(f"{count} of {one}" if count > 1 else one for one, count in groups.items())


def _requests(version: Version) -> str:
    verdict = read_verdict(version)
    assert verdict is not None
    return "one by one" if one_by_one(version.manifest, verdict) else "share runs"


def main() -> None:
    """Print the table of the kinds whose libraries are installed."""
    import tempfile  # noqa: PLC0415

    from eventlog.settings import Home  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Home(Path(folder)))
        for name, kind in KINDS.items():
            register_served(registry, kind.build(), model=name)
        print("\n".join(_table(registry, KINDS)))


if __name__ == "__main__":
    main()
