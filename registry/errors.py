"""The registry's branch of the error tree; see eventlog/errors.py for the whole tree.

RegistryError
├── UnknownModel          no model of this name; the message lists the existing models
├── UnknownVersion        no such version of a model; the message lists the existing versions
│   └── NoChampion            the model has no champion, so requests must name a version
├── UnknownRequest        no retraining request of this id for the model
├── InvalidName           an invalid name of a model or alias
├── InvalidModel          an ONNX file that cannot be served
├── InvalidManifest       a manifest that cannot be read or does not agree with the file
├── ChangedFile           a stored file differs from the registered file
│   └── UnknownReport     no gate report has this digest
├── InvalidReference      reference data that does not fit the model
├── InvalidLimits         limits that do not fit a version
├── InvalidGates          gates that cannot be read, or that do not fit a model
├── InvalidPolicy         a monitoring policy that does not fit a version
├── InvalidSchedule       a retraining schedule that cannot be read, or that is never due
├── InvalidDescription    an invalid owner or tag of a model
├── InvalidFeatures       values that do not fit the features or their tensors
├── IncompatibleRegistry  a registry file of a newer release
├── DamagedRow            a row of the history that cannot be read
├── ArtifactsUnavailable  the shared store of files cannot be used now
├── InvalidSigningKey     an unusable private or public key for signed heads
├── InvalidSignedHead     a signed head that was changed, or that another key signed
├── RegistryConflict      another change of the model was earlier; the message names the actor
├── VersionRefused        the model's release policy does not allow the version
└── RegistryUnavailable   the registry cannot be read or written now
"""

from collections.abc import Sequence

from eventlog.errors import DriftlineError


class RegistryError(DriftlineError):
    """Any error about models, versions or aliases."""


class UnknownModel(RegistryError):
    """No model of this name."""


class UnknownVersion(RegistryError):
    """No such version of a model."""


class UnknownRequest(RegistryError):
    """No retraining request of this id for the model."""


class NoChampion(UnknownVersion):
    """A model has no champion, so requests must name a version."""

    def __init__(self, model: str, numbers: Sequence[str]) -> None:
        """`numbers` are the model's versions, oldest first."""
        number = numbers[-1] if numbers else "N"
        super().__init__(
            f"model {model!r} has no champion, which answers requests that name no version: run "
            f"`driftline promote {model} --version {number}`, or name a version: "
            f"{', '.join(numbers) or 'none is registered'}"
        )


class InvalidName(RegistryError):
    """An invalid name of a model or alias."""


class InvalidModel(RegistryError):
    """An ONNX file that cannot be served."""


class InvalidManifest(RegistryError):
    """A manifest that cannot be read or does not agree with the ONNX file."""


class ChangedFile(RegistryError):
    """A stored file of a version is missing or differs from the registered file."""


class UnknownReport(ChangedFile):
    """No gate report has the digest, here or in the shared store."""


class InvalidReference(RegistryError):
    """Reference data that does not fit the model."""


class InvalidLimits(RegistryError):
    """Limits that do not fit a version."""


class InvalidPolicy(RegistryError):
    """A monitoring policy that does not fit a version."""


class InvalidGates(RegistryError):
    """Gates that cannot be read, or that do not fit a model."""


class InvalidDescription(RegistryError):
    """An invalid owner or tag of a model, or a tag that the model does not have."""


class InvalidSchedule(RegistryError):
    """A retraining schedule that cannot be read, is never due, or does not exist."""


class InvalidFeatures(RegistryError):
    """Values that do not fit the features, or tensors that do not contain them."""


class IncompatibleRegistry(RegistryError):
    """A registry file of a newer release."""


class DamagedRow(RegistryError):
    """A row of the history that cannot be read: it was edited, or a newer release wrote it."""


class ArtifactsUnavailable(RegistryError):
    """The shared store of files cannot be reached, read or written now."""


class RegistryConflict(RegistryError):
    """Another change of the model was earlier; the message names its actor and time."""


class VersionRefused(RegistryError):
    """The model's release policy does not allow an alias to point to the version."""


class RegistryUnavailable(RegistryError):
    """The registry cannot be read or written now: locked, damaged, or its disk is full."""
