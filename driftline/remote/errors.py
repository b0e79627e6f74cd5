"""The HTTP status codes of the registry server's errors."""

from access.errors import AccessError, Forbidden, Unauthenticated
from driftline.remote.jobs import TooManyJobs, UnknownJob
from driftline.remote.uploads import UploadTooLarge
from eventlog.errors import AlreadyRunning, DriftlineError
from registry.errors import (
    ArtifactsUnavailable,
    ChangedFile,
    DamagedRow,
    IncompatibleRegistry,
    RegistryConflict,
    RegistryUnavailable,
    UnknownModel,
    UnknownReport,
    UnknownRequest,
    UnknownVersion,
    VersionRefused,
)

STATUS: dict[type[DriftlineError], int] = {
    Unauthenticated: 401,
    Forbidden: 403,
    AccessError: 400,
    UnknownModel: 404,
    UnknownReport: 404,
    UnknownVersion: 404,
    UnknownRequest: 404,
    UnknownJob: 404,
    RegistryConflict: 409,
    VersionRefused: 409,
    AlreadyRunning: 409,
    IncompatibleRegistry: 409,
    DamagedRow: 409,
    ChangedFile: 409,
    UploadTooLarge: 413,
    TooManyJobs: 429,
    RegistryUnavailable: 503,
    ArtifactsUnavailable: 503,
}


def status_of_error(error: DriftlineError) -> int:
    """Return the status of an error's class, else of its nearest base class, else 400."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 400)
