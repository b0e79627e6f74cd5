"""Our gRPC messages equal those of Triton's client in every name, number and type."""

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc import service_pb2 as theirs

from service.protocol import open_inference_pb2 as ours

MESSAGES = sorted(ours.DESCRIPTOR.message_types_by_name)


def _agree(mine: Any, other: Any) -> list[str]:
    wrong = []
    for field in mine.fields:
        same = other.fields_by_name.get(field.name)
        if same is None or (field.number, field.type, field.is_repeated) != (
            same.number,
            same.type,
            same.is_repeated,
        ):
            wrong.append(f"{mine.full_name}.{field.name}")
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            assert field.message_type.full_name == same.message_type.full_name
            wrong += _agree(field.message_type, same.message_type)
    return wrong


@pytest.mark.parametrize("name", MESSAGES)
def test_each_message_agrees_with_tritons(name: str) -> None:
    other = getattr(theirs, name, None) or getattr(model_config_pb2, name)
    assert _agree(ours.DESCRIPTOR.message_types_by_name[name], other.DESCRIPTOR) == []


def test_the_datatypes_of_a_configuration_are_tritons() -> None:
    assert dict(ours.DataType.items()) == dict(model_config_pb2.DataType.items())


def test_the_service_and_its_methods_are_named_alike() -> None:
    mine = ours.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    other = theirs.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert mine.full_name == other.full_name
    for method in mine.methods:
        same = other.methods_by_name[method.name]
        assert method.input_type.full_name == same.input_type.full_name
        assert method.output_type.full_name == same.output_type.full_name
