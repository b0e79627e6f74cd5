"""Check the bytes of files that a model decodes. Pure."""

from typing import Any

import numpy as np

from registry.encoded_files import FileKind
from service.errors import InvalidRequest
from service.protocol.audio_bounds import check_audio, is_audio
from service.protocol.image_bounds import check_image


def check_files(array: np.ndarray[Any, Any], kinds: frozenset[FileKind], tensor: str) -> None:
    """Raise InvalidRequest unless every row is a valid file of one of the kinds."""
    if array.size == 0:
        raise InvalidRequest(f"0 bytes; expected {' or '.join(sorted(kinds))}", tensor=tensor)
    for row in array.reshape(-1, array.shape[-1] if array.ndim else 1):
        _check_file(row.data, kinds, tensor)


def _check_file(data: memoryview, kinds: frozenset[FileKind], tensor: str) -> None:
    if "audio" in kinds and ("image" not in kinds or is_audio(data)):
        check_audio(data, tensor)
    else:
        check_image(data, tensor)
