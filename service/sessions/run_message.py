"""Remove values of requests from ONNX Runtime's error messages. Pure."""

import re

_STATUS = "Status Message: "
_SOURCE = re.compile(r"^\S*\.(?:cc|h|cpp|hpp|cu)(?::\d+)? (?:\S+::\S+ )?")
_VALUE = re.compile(r"[0-9'\":=`\[(]")


def without_values(message: str) -> str:
    """Return ONNX Runtime's message up to the first text that can be a value of the request.

    Operators quote values that they refuse, such as an index that is out of range. The text before
    contains the operator and its node. A message without an operator contains no values.
    """
    operator, mark, status = message.partition(_STATUS)
    if not mark:
        return message
    reason = _VALUE.split(_SOURCE.sub("", status), maxsplit=1)[0].strip(" ,.")
    return f"{operator}{_STATUS}{reason or 'not shown'}"
