"""Services with the echo models, one for each server that must pass the suite."""

from collections.abc import Callable, Iterator

import pytest

from tests.conformance.echo_models import DATATYPES, register_echo
from tests.conformance.ways import Endpoint
from tests.service.conftest import Service

FRONTS: dict[str, dict[str, str]] = {  # name -> settings of the service
    "default": {},
    "grpc.aio": {"grpc": "aio"},
}
MOST_BYTES = 200_000  # of one body

_Start = Callable[[str], Service]


@pytest.fixture(scope="session")
def start(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[_Start]:
    """Gives the service of a front, which is started when it is first asked for."""
    started: dict[str, Service] = {}

    def of(front: str) -> Service:
        if front not in started:
            root = tmp_path_factory.mktemp("conformance")
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("BENTOML_HOME", str(root / "bentoml"))
                service = _stocked(Service(root, free_port, **_SMALL, **FRONTS[front]))
            service.start()  # a start that fails is tried again by the next test
            started[front] = service
        return started[front]

    yield of
    for service in started.values():
        service.stop()


_SMALL = {"max_body_bytes": str(MOST_BYTES)}


def _stocked(service: Service) -> Service:
    for datatype in DATATYPES:
        register_echo(service.registry, service.root / "files", datatype)
    service.register("remembering", cache={"max_bytes": 100_000})
    service.registry.promote("echo-int64", "1", alias="steady")
    service.registry.promote("echo-fp32", "1", alias="steady")
    return service


@pytest.fixture(params=FRONTS)
def echoes(request: pytest.FixtureRequest, start: _Start) -> Service:
    """A running service that echoes every datatype, behind each front in turn."""
    return start(request.param)


@pytest.fixture
def address(echoes: Service) -> Endpoint:
    return Endpoint(f"127.0.0.1:{echoes.port}", f"127.0.0.1:{echoes.grpc_port}")
