"""The response cache: keys, eviction and memory."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.batching.response_cache import ENTRY_OVERHEAD, ResponseCache, key_of
from service.protocol import json
from service.protocol.raw import RawTensor, write_raw

ENTRY = ENTRY_OVERHEAD + 8  # bytes, of one answer of one FP64 value


def _outputs(value: float) -> dict[str, Any]:
    return {"y": np.array([value])}


@given(
    st.integers(0, 5),
    st.lists(st.tuples(st.sampled_from(["get", "put"]), st.integers(0, 8)), max_size=60),
)
def test_the_cache_contains_the_most_recently_used_entries_that_fit(
    places: int, steps: list[tuple[str, int]]
) -> None:
    cache = ResponseCache(places * ENTRY)
    recent: list[int] = []  # oldest first
    for step, number in steps:
        key = bytes([number])
        if step == "put" and number not in recent:
            cache.put(key, _outputs(number))
            recent = [*recent, number][-places:] if places else []
        elif step == "get":
            found = cache.get(key)
            assert (found is not None) == (number in recent)
            if found is not None:
                assert found["y"][0] == number
                recent = [*(n for n in recent if n != number), number]
        assert cache.size == len(cache) * ENTRY <= places * ENTRY
    assert {n for n in range(9) if cache.get(bytes([n])) is not None} == set(recent)


def test_a_cached_row_does_not_keep_its_batch_in_memory() -> None:
    cache = ResponseCache(10_000)
    batch = np.zeros(1_000_000)
    cache.put(b"k", {"y": batch[3:4]})
    found = cache.get(b"k")
    assert found is not None
    assert found["y"].base is None


def test_a_smaller_limit_evicts_the_oldest_entries_and_zero_evicts_all() -> None:
    cache = ResponseCache(3 * ENTRY)
    for number in range(3):
        cache.put(bytes([number]), _outputs(number))
    cache.resize(ENTRY)
    assert [cache.get(bytes([n])) is not None for n in range(3)] == [False, False, True]
    cache.resize(0)
    assert (len(cache), cache.size) == (0, 0)


def test_an_entry_larger_than_the_limit_is_not_cached() -> None:
    cache = ResponseCache(ENTRY)
    cache.put(b"k", {"y": np.zeros(100)})
    cache.put(b"l", {"y": np.array(["x" * ENTRY], object)})
    assert len(cache) == 0


def _json(shape: list[int], data: str, datatype: str = "FP32") -> Any:
    return json.JsonTensor("x", shape, datatype, data.encode()).array()  # type: ignore[arg-type]


def test_a_request_has_the_same_cache_key_over_every_transport() -> None:
    flat, nested = _json([2, 2], "[1,2.0,3,null]"), _json([2, 2], "[[1, 2], [3e0, null]]")
    raw = RawTensor("x", "FP32", [2, 2], write_raw("FP32", flat)).array()
    assert key_of({"x": flat}) == key_of({"x": nested}) == key_of({"x": raw})
    words = _json([1, 2], '["a", "\\u00e9"]', "BYTES")
    sent = RawTensor("x", "BYTES", [1, 2], write_raw("BYTES", words)).array()
    assert key_of({"x": words}) == key_of({"x": sent})
    assert key_of({"x": flat, "z": words}) == key_of({"z": words, "x": flat})
    assert key_of({"x": np.asfortranarray(flat)}) == key_of({"x": flat})


texts = st.lists(st.text(max_size=4), min_size=1, max_size=4)


@given(texts, texts)
def test_other_values_and_shapes_have_other_cache_keys(one: list[str], other: list[str]) -> None:
    def key(words: list[str]) -> bytes:
        return key_of({"x": np.array(words, object)})

    assert (key(one) == key(other)) == (one == other)
    numbers = np.arange(6, dtype=np.float32)
    keys = {key_of({"x": numbers.reshape(shape)}) for shape in ((6,), (2, 3), (3, 2), (1, 6))}
    assert len(keys) == 4
    assert key_of({"a": numbers[:2], "b": numbers[2:]}) != key_of(
        {"a": numbers[:4], "b": numbers[4:]}
    )
