"""The registry's branch of the error tree; see eventlog/errors.py for the whole.

RegistryError
├── UnknownModel          no model of that name; the message lists those that exist
├── UnknownVersion        no such version of a model; the message lists those that exist
│   └── NoChampion            no version answers requests that name none
├── UnknownRequest        no retraining request of that id for the model
├── InvalidName           a model's or an alias's name that cannot be used
├── InvalidModel          an ONNX file that cannot be served
├── InvalidManifest       a manifest that cannot be read or does not agree with the file
├── ChangedFile           a stored file is not as it was registered
│   └── UnknownReport     no gate report has this digest
├── InvalidReference      reference data that does not fit the model
├── InvalidLimits         limits that a version cannot have
├── InvalidGates          gates that cannot be read, or that a model cannot have
├── InvalidPolicy         a monitoring policy that does not fit a version
├── InvalidSchedule       a retraining schedule that cannot be read, or that is never due
├── InvalidDescription    an owner or a tag that a model cannot have
├── InvalidFeatures       values that do not fit the features or the tensors that carry them
├── IncompatibleRegistry  a registry file of a newer release
├── DamagedRow            a row of the history that cannot be read
├── ArtifactsUnavailable  the shared store of files cannot be used now
├── InvalidSigningKey     a key that signs heads, or its public key, that cannot be used
├── InvalidSignedHead     a signed head that was changed, or that another key signed
├── RegistryConflict      another change of the model was first; the message names the actor
├── VersionRefused        the model's release policy does not allow the version
└── RegistryUnavailable   the registry cannot be read or written now
"""

from collections.abc import Sequence

from eventlog.errors import DriftlineError


class RegistryError(DriftlineError):
    """Something about models, versions or aliases."""


class UnknownModel(RegistryError):
    """No model of that name."""


class UnknownVersion(RegistryError):
    """No such version of a model."""


class UnknownRequest(RegistryError):
    """No retraining request of that id for the model."""


class NoChampion(UnknownVersion):
    """A model has no champion, which answers requests that name no version."""

    def __init__(self, model: str, numbers: Sequence[str]) -> None:
        """Name what to run; `numbers` are the model's versions, oldest first."""
        number = numbers[-1] if numbers else "N"
        super().__init__(
            f"model {model!r} has no champion, which answers requests that name no version: run "
            f"`driftline promote {model} --version {number}`, or name a version: "
            f"{', '.join(numbers) or 'none is registered'}"
        )


class InvalidName(RegistryError):
    """A model's or an alias's name that cannot be used."""


class InvalidModel(RegistryError):
    """An ONNX file that cannot be served."""


class InvalidManifest(RegistryError):
    """A manifest that cannot be read or does not agree with the ONNX file."""


class ChangedFile(RegistryError):
    """A stored file of a version is missing, or its bytes are not those that were registered."""


class UnknownReport(ChangedFile):
    """No gate report has the digest, here or in the shared store."""


class InvalidReference(RegistryError):
    """Reference data that does not fit the model."""


class InvalidLimits(RegistryError):
    """Limits that a version cannot have."""


class InvalidPolicy(RegistryError):
    """A monitoring policy that does not fit a version."""


class InvalidGates(RegistryError):
    """Gates that cannot be read, or that a model cannot have."""


class InvalidDescription(RegistryError):
    """An owner or a tag that a model cannot have, or does not have."""


class InvalidSchedule(RegistryError):
    """A retraining schedule that cannot be read, is never due, or is not there."""


class InvalidFeatures(RegistryError):
    """Values that do not fit the features, or tensors that do not carry them."""


class IncompatibleRegistry(RegistryError):
    """A registry file of a newer release."""


class DamagedRow(RegistryError):
    """A row of the history cannot be read: it was edited, or a newer release wrote it."""


class ArtifactsUnavailable(RegistryError):
    """The shared store of files cannot be reached, read or written now."""


class RegistryConflict(RegistryError):
    """Another change of the model was first; the message names its actor and time."""


class VersionRefused(RegistryError):
    """The model's release policy does not allow an alias to name the version."""


class RegistryUnavailable(RegistryError):
    """The registry cannot be read or written now: locked, damaged, or its disk is full."""
