"""Models of any shape, served without manifest and reference, bit-identical to ONNX Runtime."""

import asyncio
import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from service.errors import Expired, InvalidRequest, RunFailed
from service.protocol import binary, json, protobuf
from service.protocol.named_rows import read_rows
from tests.service.any_shape import (
    FLOAT,
    INT64,
    STRING,
    AnyShapeBench,
    graph_of,
    identity,
    image,
    info,
    node,
)

RNG = np.random.default_rng(11)


@pytest.fixture
def bench(tmp_path: Path) -> AnyShapeBench:
    return AnyShapeBench(tmp_path)


def floats(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (TensorProto.BOOL, np.bool_), (TensorProto.UINT8, np.uint8), (TensorProto.INT16, np.int16),
        (TensorProto.FLOAT16, np.float16), (TensorProto.DOUBLE, np.float64), (INT64, np.int64),
    ],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 1, 2, 2)])
async def test_any_rank_and_datatype(
    bench: AnyShapeBench, kind: int, dtype: Any, shape: tuple[int, ...]
) -> None:
    free = [None, *shape[1:]] if shape else []
    await bench.serve(identity(*free, kind=kind))
    answer = await bench.check(x=RNG.integers(0, 2, shape).astype(dtype))
    assert answer.outputs["y"].shape == list(shape)


async def test_brain_floats_travel_raw_and_as_json(bench: AnyShapeBench) -> None:
    await bench.serve(identity(None, 3, kind=TensorProto.BFLOAT16))
    x = np.array([[1.5, -2.0, np.inf], [0.0, 3.0, 4.0]], ml_dtypes.bfloat16)
    for answer in (await bench.as_binary(x=x), await bench.as_grpc(x=x)):
        assert answer.run.outputs["y"].tobytes() == x.tobytes()
        assert answer.outputs["y"].data == [1.5, -2.0, "Infinity", 0.0, 3.0, 4.0]
    numbers = np.array([[1.5, -2.0, 0.5]], ml_dtypes.bfloat16)
    assert (await bench.as_json(x=numbers)).outputs["y"].values() == [1.5, -2.0, 0.5]
    many = np.ones((600, 3), ml_dtypes.bfloat16)
    assert (await bench.as_binary(x=many)).outputs["y"].values() == [1.0] * 1_800


async def test_brain_floats_have_no_typed_contents(bench: AnyShapeBench) -> None:
    await bench.serve(identity(None, 3, kind=TensorProto.BFLOAT16))
    message = protobuf.pb.ModelInferRequest()
    tensor = message.inputs.add(name="x", datatype="BF16", shape=[1, 3])
    tensor.contents.fp32_contents.extend([1.0, 2.0, 3.0])
    with pytest.raises(InvalidRequest, match="BF16 has no typed contents; expected raw_input"):
        await bench.infer(lambda _: protobuf.decode_request(message))
    answer = await bench.as_json(x=np.ones((1, 3), ml_dtypes.bfloat16))
    reply = protobuf.encode_response(
        model="any", version="1", request_id="", parameters={}, raw=False,
        outputs={"y": ("BF16", answer.run.outputs["y"])},
    )  # fmt: skip
    assert reply.raw_output_contents[0] == b"\x80\x3f" * 3


async def test_images_of_the_same_size_share_a_run_and_other_images_do_not_wait(
    bench: AnyShapeBench,
) -> None:
    version = await bench.serve(image())
    assert version.manifest.task == "other"
    small, large = floats(1, 3, 8, 8), floats(1, 3, 12, 16)
    await bench.check(pixels=large)
    sent = (small, large, small, large, small)
    answers = await asyncio.gather(*(bench.as_binary(pixels=one) for one in sent))
    assert [answer.run.batch_rows for answer in answers] == [3, 2, 3, 2, 3]
    for one, answer in zip(sent, answers, strict=True):
        expected = bench.expected(pixels=one)["means"]
        assert np.allclose(answer.run.outputs["means"], expected, atol=1e-6)


async def test_every_event_has_summaries_although_large_payloads_are_sampled(
    bench: AnyShapeBench,
) -> None:
    await bench.serve(image())
    pixels = floats(2, 3, 96, 128)
    await bench.as_binary(pixels=pixels)
    await bench.as_json(pixels=pixels[:, :, :8, :8])
    large, small = bench.log.events
    assert (large.payload, large.inputs, large.outputs) == ("digest", {}, {})
    assert large.inclusion == 0.01
    assert large.payload_bytes > pixels.nbytes
    assert large.payload_digest.startswith("blake3:")
    assert small.payload == "kept"
    brightness = pixels.astype(np.float64).mean(axis=(1, 2, 3))
    assert np.allclose(large.summaries["pixels: brightness"], brightness, atol=1e-6)
    assert len(large.summaries["means: mean"]) == 2
    assert small.summaries.keys() == large.summaries.keys()


async def test_a_failed_request_has_the_summaries_of_its_inputs(bench: AnyShapeBench) -> None:
    lookup = node("Gather", ["table", "x"], ["y"])
    table = helper.make_tensor("table", FLOAT, [3], [1.0, 2.0, 3.0])
    await bench.serve(
        graph_of([lookup], [info("x", INT64, [None])], [info("y", FLOAT, [None])], table)
    )
    with pytest.raises(InvalidRequest, match="cannot run on these values") as refused:
        await bench.as_json(x=np.array([77]))
    assert "77" not in str(refused.value)
    (event,) = bench.log.events
    assert event.outcome == "invalid"
    assert event.summaries == {"x: value": [77.0]}


async def test_a_model_without_a_batch_dimension_takes_one_row(bench: AnyShapeBench) -> None:
    mean = node("ReduceMean", ["x"], ["y"], keepdims=0)
    await bench.serve(graph_of([mean], [info("x", FLOAT, [3, 8, 8])], [info("y", FLOAT, [])]))
    answer = await bench.check(x=floats(3, 8, 8))
    assert answer.outputs["y"].shape == []
    assert {event.rows for event in bench.log.events} == {1}
    assert len(bench.log.events[0].summaries["x: brightness"]) == 1
    with pytest.raises(
        InvalidRequest, match=r"shape \[2, 8, 8\]; expected FP32 of shape \[3, 8, 8\]"
    ):
        await bench.as_json(x=floats(2, 8, 8))


async def test_an_input_with_rows_next_to_a_scalar_input(bench: AnyShapeBench) -> None:
    inputs = [info("by", FLOAT, []), info("x", FLOAT, [None, 2])]
    product = node("Mul", ["x", "by"], ["y"])
    await bench.serve(graph_of([product], inputs, [info("y", FLOAT, [None, 2])]))
    await bench.check(by=np.array(3.0, np.float32), x=floats(4, 2))
    assert bench.log.events[-1].rows == 4


async def test_outputs_of_any_length_are_returned_unchanged(bench: AnyShapeBench) -> None:
    nodes = [node("NonZero", ["x"], ["places"]), node("Shape", ["x"], ["size"])]
    outputs = [info("places", INT64, [2, None]), info("size", INT64, [2])]
    await bench.serve(graph_of(nodes, [info("x", FLOAT, [None, 3])], outputs))
    answer = await bench.check(x=np.array([[0, 1, 0], [2, 0, 3]], np.float32))
    assert answer.outputs["places"].data == [0, 1, 1, 1, 0, 2]
    assert bench.log.events[-1].summaries["places: mean"] == [None, None]


async def test_texts_of_any_number(bench: AnyShapeBench) -> None:
    await bench.serve(identity(None, None, kind=STRING))
    await bench.check(x=np.array([["grün", "b"], ["", "c d"]], dtype=object))
    assert bench.log.events[-1].summaries["x: words"] == [2.0, 2.0]


async def test_a_fixed_batch(bench: AnyShapeBench) -> None:
    await bench.serve(identity(2, 3, 4))
    await bench.check(x=floats(2, 3, 4))
    assert bench.log.events[-1].rows == 2
    with pytest.raises(InvalidRequest, match="needs exactly 2 rows per request"):
        await bench.as_json(x=floats(1, 3, 4))


async def test_zero_rows_are_refused(bench: AnyShapeBench) -> None:
    await bench.serve(identity(None, 2, 2))
    with pytest.raises(InvalidRequest, match="shape has no rows; expected at least one"):
        await bench.as_binary(x=floats(0, 2, 2))


async def test_rows_of_features_are_refused_naming_the_route(bench: AnyShapeBench) -> None:
    version = await bench.serve(image())
    with pytest.raises(InvalidRequest, match=r"'pixels' of this model.*POST /v2/models/\{model\}"):
        read_rows([{"a": 1}], None, version.manifest)


async def test_a_run_that_outlasts_its_deadline_is_stopped(bench: AnyShapeBench) -> None:
    body = helper.make_graph(
        [node("Identity", ["on"], ["still"]), node("Sin", ["v"], ["w"])],
        "body",
        [info("i", INT64, []), info("on", TensorProto.BOOL, []), info("v", FLOAT, [1])],
        [info("still", TensorProto.BOOL, []), info("w", FLOAT, [1])],
    )
    loop = node("Loop", ["times", "", "start"], ["y"], body=body)
    true = helper.make_tensor("unused", TensorProto.BOOL, [], [True])
    loop.input[1] = "unused"
    start = helper.make_tensor("start", FLOAT, [1], [1.0])
    await bench.serve(
        graph_of([loop], [info("times", INT64, [])], [info("y", FLOAT, [1])], start, true),
        batching="off",
    )
    began = time.perf_counter()
    request = json.encode(
        {"inputs": [{"name": "times", "datatype": "INT64", "shape": [], "data": [2**40]}]}
    )
    with pytest.raises(Expired, match="during the run, which was stopped"):
        await bench.infer(lambda _: json.decode_request(request), began + 0.3)
    answer = await bench.as_json(times=np.array(1))
    assert np.isclose(answer.outputs["y"].data[0], np.sin(1.0))
    assert [event.outcome for event in bench.log.events] == ["expired", "ok"]


SCORES = {
    "task": "classification",
    "prediction": {"scores": "y", "classes": ["cat", "dog", "owl"], "activation": "softmax"},
}


async def test_labels_and_probabilities_are_derived_from_logits(bench: AnyShapeBench) -> None:
    await bench.serve(identity(None, 3), **SCORES)
    x = np.array([[1.0, 3.0, 2.0], [5.0, 5.0, -1.0]], np.float32)
    answer = await bench.check(x=x)
    assert answer.output_names() == ["y"]
    event = bench.log.events[-1]
    assert event.outputs["driftline.label"].data == ["dog", "cat"]
    exact = np.exp(x.astype(np.float64))
    exact /= exact.sum(axis=1, keepdims=True)
    assert np.allclose(event.outputs["driftline.probabilities"].data, exact.ravel())
    named = await bench.as_json(["driftline.label", "y"], x=x)
    assert named.output_names() == ["driftline.label", "y"]
    top = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 3, 2]}],
           "outputs": [{"name": "y", "parameters": {"classification": 2}}]}  # fmt: skip
    request = json.encode(top)
    best = await bench.infer(lambda _: json.decode_request(request))
    assert best.with_classes().outputs["y"].data == ["3.0:1:dog", "2.0:2:owl"]


def optional() -> Any:
    """Rows times a number that has a default, plus another one."""
    nodes = [node("Mul", ["x", "by"], ["product"]), node("Add", ["product", "plus"], ["y"])]
    inputs = [info("x", FLOAT, [None, 2]), info("by", FLOAT, []), info("plus", FLOAT, [])]
    defaults = [helper.make_tensor(name, FLOAT, [], [2.0]) for name in ("by", "plus")]
    return graph_of(nodes, inputs, [info("y", FLOAT, [None, 2])], *defaults)


async def test_optional_inputs_can_be_set_if_the_manifest_allows_it(
    bench: AnyShapeBench,
) -> None:
    await bench.serve(optional(), optional_inputs=["by", "plus"], cache={"max_bytes": 10_000})
    x, three = floats(2, 2), np.array(3.0, np.float32)
    answers = await asyncio.gather(
        bench.as_binary(x=x), bench.as_binary(x=x, by=three), bench.as_binary(plus=three, x=x)
    )
    assert [one.run.batch_rows for one in answers] == [2, 2, 2]
    for sent, answer in zip(({}, {"by": three}, {"plus": three}), answers, strict=True):
        expected = bench.expected(x=x, **sent)["y"]
        assert answer.run.outputs["y"].tobytes() == expected.tobytes()
    assert [set(event.inputs) for event in bench.log.events] == [{"x"}, {"x", "by"}, {"x", "plus"}]
    with pytest.raises(InvalidRequest, match=r"shape \[1\]; expected FP32 of shape \[\]"):
        await bench.as_json(x=x, by=floats(1))
    with pytest.raises(InvalidRequest, match="missing"):
        await bench.as_json(by=three)


async def test_other_inputs_with_a_default_are_unknown(bench: AnyShapeBench) -> None:
    await bench.serve(optional())
    with pytest.raises(InvalidRequest, match="unknown; expected 'x'"):
        await bench.as_json(x=floats(1, 2), by=np.array(3.0, np.float32))


async def test_different_sizes_of_the_same_dimension_are_a_client_error(
    bench: AnyShapeBench,
) -> None:
    sizes = ["batch", "tokens"]
    total = node("Add", ["left", "right"], ["y"])
    inputs = [info("left", FLOAT, sizes), info("right", FLOAT, sizes)]
    await bench.serve(graph_of([total], inputs, [info("y", FLOAT, sizes)]))
    good = {"left": floats(2, 4), "right": floats(2, 4)}
    bad = {"left": floats(2, 4), "right": floats(2, 3)}
    answers = await asyncio.gather(
        bench.as_binary(**good), bench.as_binary(**bad), bench.as_binary(**good),
        return_exceptions=True,
    )  # fmt: skip
    assert isinstance(answers[1], InvalidRequest)
    for answer in (answers[0], answers[2]):
        assert not isinstance(answer, BaseException)
        assert answer.run.outputs["y"].shape == (2, 4)


def places(*stated: Any) -> Any:
    """How many rows it answers depends on values, and its declaration may say otherwise."""
    nodes = [
        node("NonZero", ["x"], ["found"]),
        node("Transpose", ["found"], ["y"], perm=[1, 0]),
    ]
    return graph_of(nodes, [info("x", INT64, [None])], [info("y", INT64, stated)])


async def test_an_unexpected_number_of_output_rows_affects_no_other_request(
    bench: AnyShapeBench,
) -> None:
    await bench.serve(places(None, 1))
    sent = [np.array(one) for one in ([1, 0, 1], [5], [0, 0], [7])]
    answers = await asyncio.gather(*(bench.as_binary(x=one) for one in sent))
    for one, answer in zip(sent, answers, strict=True):
        assert answer.run.outputs["y"].tolist() == bench.expected(x=one)["y"].tolist()
    assert [event.outcome for event in bench.log.events] == ["ok"] * 4


async def test_a_wrong_number_of_labels_is_an_error_of_the_model(
    bench: AnyShapeBench,
) -> None:
    stated = {"task": "regression", "prediction": {"label": "y"}}
    await bench.serve(places(None, 1), **stated)
    fault = r"'y' contains the prediction and has shape \[1, 1\] for 3 rows"
    with pytest.raises(RunFailed, match=fault):
        await bench.as_binary(x=np.array([0, 0, 4]))
    answer = await bench.as_binary(x=np.array([3]))
    assert answer.outputs["y"].data == [0]
    failed, answered = bench.log.events
    assert (failed.outcome, answered.outcome) == ("failed", "ok")
    assert "has shape [1, 1] for 3 rows" in failed.reason


WAYS = [AnyShapeBench.as_json, AnyShapeBench.as_binary, AnyShapeBench.as_grpc]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "shape", [(1, 4, 8, 8), (3, 8, 8), (1, 3, 8), (1, 3, 8, 8, 1), (0, 3, 8, 8), (0, 4, 8, 8)]
)
async def test_images_of_a_wrong_size_are_a_client_error(
    bench: AnyShapeBench, way: Any, shape: tuple[int, ...]
) -> None:
    await bench.serve(image())
    good, bad = floats(1, 3, 8, 8), floats(*shape)
    refused, answer = await asyncio.gather(
        way(bench, pixels=bad), way(bench, pixels=good), return_exceptions=True
    )
    assert isinstance(refused, InvalidRequest)
    assert "'pixels'" in str(refused)
    assert not isinstance(answer, BaseException)
    assert np.allclose(answer.run.outputs["means"], bench.expected(pixels=good)["means"])


@pytest.mark.parametrize("way", WAYS)
async def test_an_image_without_pixels_affects_no_other_request(
    bench: AnyShapeBench, way: Any
) -> None:
    await bench.serve(image())
    empty, answer = await asyncio.gather(
        way(bench, pixels=floats(1, 3, 0, 8)),
        way(bench, pixels=floats(1, 3, 8, 8)),
        return_exceptions=True,
    )
    assert not isinstance(answer, BaseException)
    assert isinstance(empty, InvalidRequest) or empty.run.outputs["means"].shape == (1, 3)


async def test_bytes_that_are_not_utf_8_are_a_client_error(bench: AnyShapeBench) -> None:
    await bench.serve(identity(None, kind=STRING))
    raw = (2).to_bytes(4, "little") + b"\xff\xfe"
    message = protobuf.pb.ModelInferRequest()
    message.inputs.add(name="x", datatype="BYTES", shape=[1])
    message.raw_input_contents.append(raw)
    head = json.encode(
        {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1],
                     "parameters": {"binary_data_size": len(raw)}}]}
    )  # fmt: skip
    for decode in (
        lambda _: protobuf.decode_request(message),
        lambda _: binary.decode_request(head + raw, str(len(head)).encode()),
    ):
        with pytest.raises(InvalidRequest, match="expected text in UTF-8"):
            await bench.infer(decode)
    await bench.check(x=np.array(["grün"], dtype=object))
