"""Small bodies that would cause a lot of work are refused early."""

import gzip
import json
import tracemalloc

import pytest

from service.errors import InvalidRequest, TooLarge
from service.protocol import feedback
from service.protocol import json as json_codec
from service.protocol.feedback import MOST_BYTES, MOST_LABELS, read_feedback
from service.rest.content import decompress

LIMIT = 16 << 20


def _peak(body: bytes) -> int:
    """Bytes that reading a body allocates, at most; it is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match=f"expected at most {MOST_LABELS}"):
            read_feedback(body)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_repetitive_body_is_decompressed_up_to_its_ratio() -> None:
    assert decompress(gzip.compress(bytes(1 << 20)), b"gzip", LIMIT) == bytes(1 << 20)
    bomb = gzip.compress(bytes(15 << 20))
    with pytest.raises(TooLarge, match=f"more than {200 * len(bomb)} bytes"):
        decompress(bomb, b"gzip", LIMIT)
    numbers = json.dumps([round(n / 7, 3) for n in range(1_000_000)]).encode()
    assert decompress(gzip.compress(numbers), b"gzip", LIMIT) == numbers


def test_items_are_counted_before_objects_are_created() -> None:
    many = b"[" + b"{}," * (MOST_LABELS * 20) + b"{}]"
    assert _peak(many) < len(many)


def test_labels_are_counted_before_events_are_created() -> None:
    many = json.dumps({"prediction_id": "p", "labels": [1] * (MOST_LABELS + 1)}).encode()
    assert _peak(many) < 8 * len(many)
    most = json.dumps({"prediction_id": "p", "labels": ["{"] * MOST_LABELS}).encode()
    assert len(read_feedback(most)) == MOST_LABELS
    with pytest.raises(TooLarge, match=f"expected at most {MOST_BYTES}"):
        read_feedback(b" " * (MOST_BYTES + 1))


def test_braces_inside_strings_are_not_items() -> None:
    items = [{"prediction_id": "p", "label": "{" * 20, "row": n} for n in range(MOST_LABELS // 10)]
    assert len(read_feedback(json.dumps(items).encode())) == len(items)
    assert feedback.LONGEST_LABEL >= 20


def test_values_are_counted_before_they_are_parsed() -> None:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1] * 100_000}]}
    (tensor,) = json_codec.read_json(json.dumps(body).encode()).inputs
    with pytest.raises(InvalidRequest, match=r"data has 100000 values; shape \[1, 2\] needs 2"):
        tensor.array()
    body["inputs"][0]["shape"] = [100_000]
    (tensor,) = json_codec.read_json(json.dumps(body).encode()).inputs
    assert tensor.array().shape == (100_000,)
