"""Every numeric option has bounds: neither `nan` nor numbers that no database can store."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from driftline.cli import driftline

Number = tuple[str, click.Parameter]


def _numbers(command: click.Command, path: str) -> Iterator[Number]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _numbers(child, f"{path} {name}")
    for parameter in command.params:
        if isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType):
            yield f"{path} {parameter.name}", parameter


NUMBERS = [*_numbers(driftline, "driftline")]


def test_the_commands_have_numeric_options() -> None:
    assert len(NUMBERS) > 40


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "9" * 30, "-" + "9" * 400, "1e999"])
def test_every_numeric_option_has_bounds(value: str) -> None:
    accepted = [name for name, parameter in NUMBERS if _accepts(parameter, value)]
    floats = value == "9" * 30  # finite, and read by comparisons alone
    assert [name for name in accepted if not (floats and _is_float(name))] == []


def _accepts(parameter: click.Parameter, value: str) -> bool:
    try:
        parameter.type.convert(value, parameter, None)
    except click.BadParameter:
        return False
    return True


def _is_float(name: str) -> bool:
    return isinstance(dict(NUMBERS)[name].type, click.types.FloatParamType)


def test_the_error_names_the_value() -> None:
    (limit,) = (p for name, p in NUMBERS if name == "driftline deadletters retry numbers")
    with pytest.raises(click.BadParameter, match="'9223372036854775808' has more than 64 bits"):
        limit.type.convert("9223372036854775808", limit, None)


def test_the_error_names_the_option() -> None:
    start = ["rollout", "start", "m", "--version", "2", "--latency-objective", "-1"]
    assert "--latency-objective" in CliRunner().invoke(driftline, start).output
