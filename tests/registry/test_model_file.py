"""Models in a folder with external data."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from registry import model_file
from registry.errors import ChangedFile, InvalidModel
from registry.manifest import SessionOptions
from registry.model_file import read_model
from registry.onnx_file import load
from registry.store import Registry
from registry.stored_files import require_unchanged
from service.sessions.session import Session

WEIGHTS = np.arange(6, dtype=np.float32).reshape(3, 2)


def write(folder: Path, location: str = "weights.bin", **entries: str) -> None:
    """A product with weights that lie in another file."""
    folder.mkdir(exist_ok=True)
    weights = numpy_helper.from_array(WEIGHTS, "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [weights],
    )
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    tensor = model.graph.initializer[0]
    (folder / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    (folder / "product.onnx").write_bytes(model.SerializeToString())


def test_external_data_is_embedded_and_part_of_the_digest(
    registry: Registry, tmp_path: Path
) -> None:
    write(tmp_path / "model")
    first = registry.register(tmp_path / "model", model="product")
    session = load((Path(first.path) / "model.onnx").read_bytes())
    (answer,) = session.run(None, {"x": np.ones((1, 3), np.float32)})
    assert answer.tolist() == WEIGHTS.sum(axis=0, keepdims=True).tolist()
    (tmp_path / "model" / "weights.bin").write_bytes((WEIGHTS + 1).tobytes())
    assert registry.register(tmp_path / "model", model="product").digest != first.digest


def test_a_file_without_its_external_data_is_refused_with_the_remedy(
    registry: Registry, tmp_path: Path
) -> None:
    write(tmp_path / "model")
    with pytest.raises(InvalidModel, match="register the folder with the file"):
        registry.register(tmp_path / "model" / "product.onnx", model="product")


@pytest.mark.parametrize(
    ("location", "entries", "message"),
    [
        ("/etc/passwd", {}, "'/etc/passwd'; expected a path inside the folder"),
        ("../weights.bin", {}, "expected a path inside the folder"),
        ("a/../../weights.bin", {}, "expected a path inside the folder"),
        ("", {}, "expected a path inside the folder"),
        ("link.bin", {}, "a link that leads out of the folder"),
        ("inner/weights.bin", {}, "a link that leads out of the folder"),
        ("absent.bin", {}, "not a file of the folder"),
        ("weights.bin", {"offset": "20"}, ""),
        ("weights.bin", {"offset": "20", "length": "8"}, "bytes 20 to 28 .* which has 24"),
        ("weights.bin", {"offset": "-4"}, "bytes -4 to"),
        ("weights.bin", {"length": "many"}, "are not numbers"),
    ],
)
def test_external_data_outside_the_folder_is_refused(
    tmp_path: Path, location: str, entries: dict[str, str], message: str
) -> None:
    folder = tmp_path / "model"
    write(folder, location, **entries)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "weights.bin").write_bytes(WEIGHTS.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "outside" / "weights.bin")
    (folder / "inner").symlink_to(tmp_path / "outside")
    if not message:
        assert onnx.load_model_from_string(read_model(folder))
        return
    with pytest.raises(InvalidModel, match=message):
        read_model(folder)


def test_a_folder_must_contain_exactly_one_model(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"expected one \.onnx file.*got none"):
        read_model(tmp_path)
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InvalidModel, match=r"got a\.onnx, b\.onnx"):
        read_model(tmp_path)


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model with external data is as one of more than 2 GiB."""
    monkeypatch.setattr(model_file, "MOST_EMBEDDED", 0)


@pytest.mark.usefixtures("packed")
def test_too_large_external_data_are_stored_next_to_the_model(
    registry: Registry, tmp_path: Path
) -> None:
    write(tmp_path / "model", offset="0", length="24")
    first = registry.register(tmp_path / "model", model="product")
    assert "model.data" in first.files
    assert b"model.data" in (Path(first.path) / "model.onnx").read_bytes()
    x = np.ones((1, 3), np.float32)
    expected = WEIGHTS.sum(axis=0, keepdims=True).tolist()
    session = Session(
        (Path(first.path) / "model.onnx").read_bytes(), SessionOptions(), Path(first.path)
    )
    assert session.run({"x": x})["y"].tolist() == expected
    assert registry.register(tmp_path / "model", model="product") == first
    (tmp_path / "model" / "weights.bin").write_bytes((WEIGHTS + 1).tobytes())
    assert registry.register(tmp_path / "model", model="product").digest != first.digest


@pytest.mark.usefixtures("packed")
def test_changed_external_data_are_not_served(registry: Registry, tmp_path: Path) -> None:
    write(tmp_path / "model")
    version = registry.register(tmp_path / "model", model="product")
    data = Path(version.path) / "model.data"
    data.chmod(0o644)
    data.write_bytes(bytes(24))
    with pytest.raises(ChangedFile, match=r"model\.data was changed"):
        require_unchanged(version)


@pytest.mark.usefixtures("packed")
def test_parts_of_external_data_are_shared_and_page_aligned(tmp_path: Path) -> None:
    write(tmp_path / "model", offset="8", length="16")
    proto = onnx.load_model_from_string((tmp_path / "model" / "product.onnx").read_bytes())
    for name in ("again", "other"):
        proto.graph.initializer.add().CopyFrom(proto.graph.initializer[0])
        proto.graph.initializer[-1].name = name
    proto.graph.initializer[-1].external_data[1].value = "0"
    (tmp_path / "model" / "product.onnx").write_bytes(proto.SerializeToString())
    data = tmp_path / "packed"
    found = onnx.load_model_from_string(read_model(tmp_path / "model", data))
    places = [
        {entry.key: entry.value for entry in tensor.external_data}["offset"]
        for tensor in found.graph.initializer
    ]
    assert places == ["0", "0", "4096"]
    assert data.read_bytes()[:16] == WEIGHTS.tobytes()[8:]
    assert data.read_bytes()[4_096:] == WEIGHTS.tobytes()[:16]


def test_a_version_refers_to_its_own_data_only(tmp_path: Path) -> None:
    write(tmp_path, "model.data", length="32")
    (tmp_path / "model.data").write_bytes(WEIGHTS.tobytes())
    with pytest.raises(InvalidModel, match=r"beyond model\.data: 24 bytes"):
        load((tmp_path / "product.onnx").read_bytes(), folder=tmp_path)
    write(tmp_path, "weights.bin")
    with pytest.raises(InvalidModel, match=r"outside model\.data"):
        load((tmp_path / "product.onnx").read_bytes(), folder=tmp_path)
