"""Describe a failed run for the log without a value of the request. Pure."""

import re

_STATUS = "Status Message: "
_SOURCE = re.compile(r"^\S*\.(?:cc|h|cpp|hpp|cu)(?::\d+)? (?:\S+::\S+ )?")
_VALUE = re.compile(r"[0-9'\":=`\[(]")


def without_values(message: str) -> str:
    """Return ONNX Runtime's message up to the first thing that may be a value.

    Its operators quote what they refuse, such as an index that is out of range. What precedes names
    the operator and its node. A message without an operator is about names and shapes.
    """
    operator, mark, status = message.partition(_STATUS)
    if not mark:
        return message
    reason = _VALUE.split(_SOURCE.sub("", status), maxsplit=1)[0].strip(" ,.")
    return f"{operator}{_STATUS}{reason or 'not shown'}"
