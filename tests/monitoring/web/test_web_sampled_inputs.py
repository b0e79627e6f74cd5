"""Sampled inputs on a window's page and in the API."""

from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from monitoring.results import Result
from monitoring.samples import Sample
from monitoring.web.app import app
from registry.images import encode_png
from tests.monitoring.web.conftest import FakeStore, week

_PNG = encode_png(np.full((4, 4), 200, np.uint8))
_WINDOW = week(0)
_PAGE = f"/models/photos/1/windows/{_WINDOW.start}"
_API = f"/api/models/photos/versions/1/windows/{_WINDOW.start}/samples"


def _sample(tensor: str, number: int, form: str, body: bytes) -> Sample:
    return Sample(tensor, number, _WINDOW.start, form, body)  # type: ignore[arg-type] # one of them


def _client(tmp_path: Path, *samples: Sample) -> TestClient:
    result = Result(model="photos", version="1", window=_WINDOW, rows=60, sampled=60)
    store = FakeStore(all_results=[result], sampled=[*samples])
    return TestClient(app(lambda: store, tmp_path), base_url="http://127.0.0.1")


@pytest.fixture
def samples() -> list[Sample]:
    return [
        _sample("image", 1, "png", _PNG),
        _sample("image", 2, "none", b"cannot be shown: 3 < 4"),
        _sample("image", 3, "file", b"\xff\xd8\xff<script>"),
        _sample("text", 4, "text", b"<script>alert(1)</script>"),
        _sample("text", 5, "text", b""),
    ]


def test_the_page_shows_pictures_texts_and_reasons(tmp_path: Path, samples: list[Sample]) -> None:
    with _client(tmp_path, *samples) as client:
        page = client.get(_PAGE).text
        assert "Sampled inputs: image" in page
        assert f'<img src="{_API}/0.png" alt="image, sampled row 1"' in page
        assert "cannot be shown: 3 &lt; 4" in page
        assert "its picture is being prepared" in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script>alert" not in page
        assert "(empty)" in page


def test_only_png_pictures_are_served(tmp_path: Path, samples: list[Sample]) -> None:
    with _client(tmp_path, *samples) as client:
        picture = client.get(f"{_API}/0.png")
        assert picture.headers["content-type"] == "image/png"
        assert picture.headers["x-content-type-options"] == "nosniff"
        assert picture.content == _PNG
        for place in (1, 2, 3, 99):  # the file as the client sent it among them
            assert client.get(f"{_API}/{place}.png").status_code == 404


def test_the_api_lists_example_rows(tmp_path: Path, samples: list[Sample]) -> None:
    with _client(tmp_path, *samples) as client:
        image, text = client.get(_API).json()
    assert image["tensor"] == "image"
    assert image["rows"][0]["picture"] == f"{_API}/0.png"
    assert text["rows"][0]["text"] == "<script>alert(1)</script>"


def test_a_window_without_examples_shows_no_section(tmp_path: Path) -> None:
    with _client(tmp_path, _sample("file", 1, "none", b"")) as client:
        assert "Sampled inputs" not in client.get(_PAGE).text
        assert client.get(_API).json() == []
