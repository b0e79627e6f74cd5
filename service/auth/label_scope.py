"""The predictions that a caller may label, by the scopes of its key. Pure."""

from collections.abc import Callable, Iterable

import msgspec

from access.errors import Forbidden
from access.keys import Grant
from eventlog.shards import tag_of
from service.errors import InvalidRequest

_ONE_MODEL = "predict:"


class LabelScope(msgspec.Struct, frozen=True):
    """The predictions that a caller may label."""

    tags: frozenset[str] | None  # tags of the models; None: of every model
    unverified: bool  # whether ids that this deployment did not make are accepted
    actor: str = ""  # whose key it is

    @classmethod
    def of(cls, grant: Grant | None, *, unverified: bool) -> "LabelScope":
        """Return the scope of a key; None: no key is required.

        `unverified` is the setting. An unverified id names no model, so only a key for
        every model may use it.
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
        """Return those of the ids that this deployment made.

        `tag` returns the tag of the model that an id names, and None for an id that it did not
        make. Raises Forbidden or InvalidRequest if any of the ids may not be labelled.
        """
        verified = set()
        for prediction_id in set(prediction_ids):
            model_tag = tag(prediction_id)
            if self.tags is not None and model_tag not in self.tags:
                # The same for ids that exist and for those that do not.
                raise Forbidden(
                    f"this key does not allow a label of prediction {prediction_id:.140}"
                )
            if model_tag is not None:
                verified.add(prediction_id)
            elif not self.unverified:
                raise InvalidRequest(
                    f"prediction_id {prediction_id:.140}: expected an id that this service made, "
                    "or DRIFTLINE_SERVICE_UNVERIFIED_LABELS=accept"
                )
        return frozenset(verified)
