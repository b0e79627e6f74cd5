"""Change and validate the owner and tags of a model."""

import re
import time
from collections.abc import Callable, Collection

from registry.errors import InvalidDescription, UnknownModel
from registry.history.lifecycle import LifecycleState
from registry.history.rows import HistoryRow, ModelDescription, encode_detail
from registry.history.store import History

_TAG = re.compile(r"[a-z0-9]([-._:/=a-z0-9]{0,61}[a-z0-9])?")
_LONGEST_OWNER = 128  # characters
_MOST_TAGS = 32


class Descriptions:
    """Append changes of owners and tags."""

    def __init__(self, history: History, clock: Callable[[], int] = time.time_ns) -> None:
        self._history = history
        self._clock = clock

    def change(  # noqa: PLR0913  # one argument per field of a row
        self,
        model: str,
        *,
        owner: str | None = None,
        add: Collection[str] = (),
        remove: Collection[str] = (),
        actor: str,
        why: str = "",
    ) -> int:
        """Set the owner, add tags and remove tags; return the revision.

        `owner` "" removes the owner, and None leaves it unchanged. Without a change, no row is
        appended. Raises InvalidDescription, or UnknownModel if the model has no version.
        """
        require_description(owner or "", [*add, *remove])

        def decide(state: LifecycleState) -> list[HistoryRow]:
            if not state.registered:
                raise UnknownModel(f"model {model!r}: no version is registered")
            before = state.description
            missing = sorted(set(remove).difference(before.tags))
            if missing:
                raise InvalidDescription(
                    f"model {model!r} has no tag {missing[0]!r}; its tags: "
                    f"{', '.join(before.tags) or 'none'}"
                )
            tags = sorted({*before.tags, *add}.difference(remove))
            if len(tags) > _MOST_TAGS:
                raise InvalidDescription(f"model {model!r}: expected at most {_MOST_TAGS} tags")
            after = ModelDescription(before.owner if owner is None else owner.strip(), tags)
            if after == before:
                return []
            now = self._clock() // 1_000
            detail = encode_detail(after)
            return [HistoryRow(0, model, "description", "", now, actor, detail=detail, why=why)]

        return self._history.append(model, decide)


def require_description(owner: str, tags: Collection[str]) -> None:
    """Raise InvalidDescription if the owner or a tag is not valid."""
    if len(owner) > _LONGEST_OWNER or not (owner.isprintable() or not owner):
        raise InvalidDescription(
            f"owner {owner[:40]!r}: expected at most {_LONGEST_OWNER} printable characters"
        )
    for tag in tags:
        if not _TAG.fullmatch(tag):
            raise InvalidDescription(
                f"tag {tag[:63]!r}: expected 1 to 63 lowercase letters, digits, '-', '.', '_', "
                "':', '/' and '=', the first and last a letter or digit"
            )
