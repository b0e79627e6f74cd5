"""Small pictures of image tensors."""

import io

import numpy as np
import pytest
from PIL import Image

from registry.images import THUMBNAIL_SIDE, thumbnail


def _pixels(png: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([-4.0, 0.0, 4.0], [0, 128, 255]),
        ([np.nan, np.inf, 1.0], [0, 0, 255]),
        ([7.0, 7.0, 7.0], [7, 7, 7]),
    ],
)
def test_pixel_values_are_scaled_to_their_range(values: list[float], expected: list[int]) -> None:
    image = np.array([values * 3] * 9, np.float32)[None]
    assert _pixels(thumbnail(image, 0))[0, :3].tolist() == expected


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_large_images_become_small_in_both_layouts(axis: int, channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, (500, 300, channels)).astype(np.uint8)
    found = _pixels(thumbnail(np.moveaxis(image, 2, axis), axis))
    assert max(found.shape[:2]) <= THUMBNAIL_SIDE
    assert found[0, 0].tolist() == (image[0, 0, 0] if channels == 1 else image[0, 0, :3].tolist())


@pytest.mark.parametrize("shape", [(5, 5), (2, 8, 8), (3, 0, 8), (3, 8, 8, 8)])
def test_tensors_that_are_not_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="is not an image"):
        thumbnail(np.zeros(shape, np.float32), 0)
