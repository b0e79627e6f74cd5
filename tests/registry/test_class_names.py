"""Class names in a file next to the manifest."""

from pathlib import Path

import pytest
import yaml

from registry.errors import InvalidManifest
from registry.manifest_file import read_fields, read_manifest


def manifest(folder: Path, classes: object) -> Path:
    path = folder / "manifest.yaml"
    prediction = {"scores": "logits", "activation": "softmax", "classes": classes}
    path.write_text(yaml.safe_dump({"task": "classification", "prediction": prediction}))
    return path


@pytest.mark.parametrize(
    ("name", "content", "classes"),
    [
        ("labels.txt", "cat\n dog\r\ngrüner Frosch\n", ["cat", "dog", "grüner Frosch"]),
        ("labels.txt", "\ufeffcat\ndog", ["cat", "dog"]),
        ("labels.json", '["cat", "dog"]', ["cat", "dog"]),
        ("labels.json", "[0, 1, 2]", [0, 1, 2]),
    ],
)
def test_class_names_can_be_read_from_a_file(
    tmp_path: Path, name: str, content: str, classes: list[object]
) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    path = manifest(tmp_path, name)
    assert read_fields(path)["prediction"]["classes"] == classes
    assert read_manifest(path).prediction.classes == classes


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("absent.txt", None, "file absent.txt cannot be read"),
        ("empty.txt", b"", "has no classes"),
        ("other.json", b'{"cat": 0}', "has no classes"),
        ("broken.json", b"[", "not JSON"),
        ("binary.txt", b"\xff\xfe\xff", "not UTF-8 text"),
        ("nested.json", b'[["cat"]]', "classes"),
    ],
)
def test_a_file_without_names_is_refused(
    tmp_path: Path, name: str, content: bytes | None, fault: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidManifest, match=fault):
        read_fields(manifest(tmp_path, name))


def test_stated_names_stay(tmp_path: Path) -> None:
    assert read_fields(manifest(tmp_path, ["cat", "dog"]))["prediction"]["classes"] == [
        "cat",
        "dog",
    ]
