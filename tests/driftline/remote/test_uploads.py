"""The limits of uploads, also of concurrent uploads."""

import hashlib
from pathlib import Path

import pytest

from driftline.remote.uploads import Uploads, UploadTooLarge


def test_concurrent_uploads_share_the_total_limit(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, largest=80, total=100, seconds=60)
    files = [bytes([number]) * 60 for number in range(2)]
    first, second = (hashlib.sha256(file).hexdigest() for file in files)
    too_large = pytest.raises(UploadTooLarge, match="all uploads would have 120 bytes")
    with uploads.begin(first, 60), too_large:
        uploads.begin(second, 60)
    with uploads.begin(second, 60) as upload:  # the first one broke off
        upload.write(files[1])
        upload.finish()
    assert [path.name for path in tmp_path.iterdir()] == [second]
    with pytest.raises(UploadTooLarge):
        uploads.begin(first, 60)
