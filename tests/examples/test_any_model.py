"""The examples of any ONNX model are built, registered, served and loaded as documented."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import digit_images
import numpy as np
import onnxruntime
import pytest
import sentence_texts
import tone_audio
import tritonclient.http as triton
from convolution import load_images
from example import UINT8, as_model, info, node
from onnx import helper
from onnxruntime_extensions import get_library_path
from register import EXAMPLES, register

from loadtests.drift import Drift
from loadtests.payloads import Payloads
from registry.images import encode_png
from registry.inference_record import read_inference
from registry.manifest import Version
from tests import preloaded
from tests.depth import NIGHTLY
from tests.service.conftest import Service

README = Path(digit_images.__file__).with_name("README.md")
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Service]:
    """A service of all examples."""
    root = tmp_path_factory.mktemp("examples")
    with Service(root, free_port) as service:
        for name in EXAMPLES:
            register(name)
        service.start()
        yield service


def _version(running: Service, name: str) -> Version:
    return running.registry.version(name, "1")


def _infer(running: Service, name: str, output: str, **inputs: Array) -> Array:
    client = triton.InferenceServerClient(f"127.0.0.1:{running.port}")
    tensors = []
    for given, array in inputs.items():
        kind = "BYTES" if array.dtype == object else triton.np_to_triton_dtype(array.dtype)
        tensors.append(triton.InferInput(given, list(array.shape), kind))
        tensors[-1].set_data_from_numpy(array)
    wanted = [triton.InferRequestedOutput(output)]
    answer: Array = client.infer(name, tensors, outputs=wanted).as_numpy(output)
    return answer


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_answers_generated_requests(running: Service, name: str) -> None:
    version = _version(running, name)
    for payload in Payloads(version, Drift()).at(0.0)[:3]:
        binary = {"Inference-Header-Content-Length": str(payload.binary_json_length)}
        for content, headers in ((payload.json, {}), (payload.binary, binary)):
            reply = running.http.post(f"/v2/models/{name}/infer", content=content, headers=headers)
            assert reply.is_success, reply.text
    assert version.manifest.features or version.manifest.summaries


@pytest.mark.parametrize("name", EXAMPLES if NIGHTLY else ["digit-files"])
def test_every_example_can_be_loaded(running: Service, name: str) -> None:
    hosts = ["--host", running.url, "--grpc-host", f"127.0.0.1:{running.grpc_port}"]
    done = preloaded.run(
        [sys.executable, "-m", "driftline", "load", *hosts, "--model", name, "--users", "2",
         "--seconds", "2", "--p99-ms", "10000"],
        env=running.environment, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verdict: met" in done.stdout


def test_digits_are_recognized(running: Service) -> None:
    images, labels = load_images()
    found = _infer(running, "digits", "driftline.label", pixels=images[1_200:1_400])
    assert (found.astype(int) == labels[1_200:1_400]).mean() > 0.9


def _picture(image: Array) -> Array:
    """Enlarge a digit to 64 x 64 pixels in grey levels."""
    return np.kron(image[0] * 255, np.ones((8, 8))).astype(np.uint8)


def _jpeg(pixels: Array) -> bytes:
    encode = node(
        "EncodeImage", ["pixels"], ["file"], domain="com.microsoft.extensions", format="jpg"
    )
    inputs = [info("pixels", UINT8, [None, None, 3])]
    graph = helper.make_graph([encode], "encode", inputs, [info("file", UINT8, [None])])
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(get_library_path())
    session = onnxruntime.InferenceSession(as_model(graph).SerializeToString(), options)
    colours = np.repeat(pixels[..., None], 3, axis=2)
    return bytes(session.run(None, {"pixels": colours})[0])


@pytest.mark.parametrize("encode", [encode_png, _jpeg])
def test_digits_in_files_are_recognized(running: Service, encode: Callable[..., bytes]) -> None:
    images, labels = load_images()
    found = [
        _infer(
            running,
            "digit-files",
            "driftline.label",
            image=np.frombuffer(encode(_picture(image)), np.uint8),
        )
        for image in images[1_200:1_220]
    ]
    assert (np.concatenate(found).astype(int) == labels[1_200:1_220]).mean() >= 0.9


def test_a_file_that_is_not_an_image_is_a_client_error(running: Service) -> None:
    with pytest.raises(triton.InferenceServerException, match="that are not an image"):
        _infer(running, "digit-files", "logits", image=np.zeros(40, np.uint8))


def test_pairs_of_one_digit_are_recognized(running: Service) -> None:
    images, labels = load_images()
    left, right = slice(1_200, 1_300), slice(1_300, 1_400)
    same = _infer(running, "pairs", "same", left=images[left], right=images[right])
    assert ((same > 0.5) == (labels[left] == labels[right])).mean() > 0.9


def test_sentences_are_recognized(running: Service) -> None:
    frame = sentence_texts.load_sentences()[-100:]
    found = _infer(
        running, "sentences", "label", sentence=frame[["sentence"]].to_numpy(dtype=object)
    )
    assert (np.char.decode(found.astype(bytes)) == frame["library"].to_numpy()).mean() > 0.75


def test_tones_are_recognized(running: Service) -> None:
    random = np.random.default_rng(5)
    found = [
        _infer(
            running,
            "tones",
            "driftline.label",
            recording=tone_audio.as_input(tone_audio.make_recording(kind, random)),
        )
        for kind in tone_audio.KINDS * 3
    ]
    right = np.concatenate(found).astype(bytes) == np.array(tone_audio.KINDS * 3).astype(bytes)
    assert right.mean() > 0.8


def test_the_examples_leave_no_registration_question_open(running: Service) -> None:
    asked = {
        name: questions
        for name in EXAMPLES
        if (questions := read_inference(Path(_version(running, name).path)).questions)
    }
    assert set(asked) <= {"sentences", "sentence-vectors", "several-numbers"}


def test_the_page_lists_every_example() -> None:
    assert re.findall(r"^\| `([\w-]+)` \|", README.read_text(), re.MULTILINE) == list(EXAMPLES)
