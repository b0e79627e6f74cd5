"""The predictions that a caller may label, by its key's scopes. Pure."""

from collections.abc import Callable, Iterable

import msgspec

from access.errors import Forbidden
from access.keys import Grant
from eventlog.shards import tag_of
from service.errors import InvalidRequest

_ONE_MODEL = "predict:"


class LabelScope(msgspec.Struct, frozen=True):
    """The predictions that a caller may label."""

    tags: frozenset[str] | None  # tags of the allowed models; None allows every model
    unverified: bool  # whether ids that this deployment did not issue are accepted
    actor: str = ""  # the caller, such as "key:NAME"

    @classmethod
    def of(cls, grant: Grant | None, *, unverified: bool) -> "LabelScope":
        """Return the label scope of a key's grant; `grant` is None if no key is required.

        `unverified` is the setting. An unverified id names no model, so only a key for all models
        can use it.
        """
        if grant is None:
            return cls(None, unverified)
        if "predict" in grant.scopes:
            return cls(None, unverified, grant.actor)
        models = (
            scope.removeprefix(_ONE_MODEL) for scope in grant.scopes if scope.startswith(_ONE_MODEL)
        )
        return cls(frozenset(map(tag_of, models)), unverified=False, actor=grant.actor)

    def verify(
        self, prediction_ids: Iterable[str], tag: Callable[[str], str | None]
    ) -> frozenset[str]:
        """Return the ids that this deployment issued.

        `tag` returns the tag of an id's model, None if this deployment did not issue the id. Raises
        Forbidden or InvalidRequest if the caller may not label one of the predictions.
        """
        verified = set()
        for prediction_id in set(prediction_ids):
            model_tag = tag(prediction_id)
            if self.tags is not None and model_tag not in self.tags:
                # The message must not reveal whether the id exists.
                raise Forbidden(
                    f"this key does not allow a label of prediction {prediction_id:.140}"
                )
            if model_tag is not None:
                verified.add(prediction_id)
            elif not self.unverified:
                raise InvalidRequest(
                    f"prediction_id {prediction_id:.140}: expected an id that this service issued, "
                    "or DRIFTLINE_SERVICE_UNVERIFIED_LABELS=accept"
                )
        return frozenset(verified)
