"""YAML as people write it, with its mistakes."""

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidManifest
from registry.manifest_file import read_fields
from registry.yaml_text import parse_yaml

pytestmark = pytest.mark.untraced

LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
REFUSED = {
    "deep list": ("[" * 100_000, "nested too deeply"),
    "deep map": ("{a: " * 50_000, "nested too deeply"),
    "deep and closed": ("[" * 300 + "]" * 300, "nested too deeply"),
    "huge integer": ("a: " + "9" * 5_000, "4300|64 bits"),
    "large integer": ("a: 18446744073709551616", "64 bits; write it as text"),
    "huge octal": ("a: 0" + "7" * 9_000, "64 bits"),
    "sexagesimal": ("a: 1" + ":59" * 900, "64 bits"),
    "repeated key": ("task: a\nfeatures: []\ntask: b", "key 'task' is stated twice.*line 3"),
    "repeated inside": ("a: {b: 1, 'b': 2}", "key 'b' is stated twice"),
    "equal keys": ("1: a\ntrue: b", "stated twice"),
    "aliases of aliases": (LAUGHS, "1,000,000 values"),
    "an alias of itself": ("a: &a [*a]", "refers to a value that contains the alias"),
    "no such day": ("a: 2013-02-30", "day is out of range"),
    "a Python object": ("a: !!python/object/apply:os.system [x]", "could not determine"),
    "two documents": ("a: 1\n---\nb: 2", "single document"),
    "a control character": ("a: \x07", "special characters"),
    "no UTF-8": (b"\xff\xfea: 1\xff", ""),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_invalid_yaml_is_refused_with_the_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(yaml.YAMLError, match=f"(?s){reason}"):
        parse_yaml(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize("name", ["deep list", "huge integer", "repeated key", "no UTF-8"])
def test_a_manifest_of_invalid_yaml_is_one_error(tmp_path: Path, name: str) -> None:
    text = REFUSED[name][0]
    (tmp_path / "m.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidManifest, match=r"m\.yaml is not YAML") as refusal:
        read_fields(tmp_path / "m.yaml")
    assert len(str(refusal.value)) < 500


def test_anchors_merges_and_64_bits_are_read() -> None:
    assert parse_yaml(b"") is None
    text = b"a: &a {x: 1}\nb: {<<: *a, y: 18446744073709551615}\nc: -9223372036854775808"
    assert parse_yaml(text) == yaml.safe_load(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(values)
def test_documents_written_by_pyyaml_are_read(value: object) -> None:
    assert parse_yaml(yaml.safe_dump(value).encode()) == value


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_a_value_or_one_error(data: bytes) -> None:
    with contextlib.suppress(yaml.YAMLError):
        parse_yaml(data)
