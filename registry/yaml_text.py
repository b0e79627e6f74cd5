"""Read YAML files of users: strictly, and with limits on size and nesting."""

from typing import Any

import yaml

_MOST_NODES = 1_000_000  # nodes with aliases expanded; 100,000 class names need half of them
_DEEPEST = 200  # levels of nesting


class StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses repeated keys, because one value would be lost silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:  # noqa: FBT001, FBT002  # PyYAML's
        """Return the mapping; raises ConstructorError at a repeated key."""
        keys: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float | bool | None):
                if key in keys:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {_short(repr(key))} is stated twice", key_node.start_mark
                    )
                keys.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Return the integer; raises ConstructorError if it has more than 64 bits."""
        value: int = super().construct_yaml_int(node)
        if not -(1 << 63) <= value < 1 << 64:
            raise yaml.constructor.ConstructorError(
                None, None, "an integer has more than 64 bits; write it as text", node.start_mark
            )
        return value


StrictLoader.add_constructor("tag:yaml.org,2002:int", StrictLoader.construct_yaml_int)


def parse_yaml(data: bytes) -> Any:
    """Return the value of a YAML document; raises YAMLError for every fault."""
    loader = StrictLoader(data)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}, 0) > _MOST_NODES:
            raise yaml.YAMLError(f"more than {_MOST_NODES:,} values with aliases expanded")
        return loader.construct_document(node)
    except RecursionError:
        raise yaml.YAMLError(_TOO_DEEP) from None
    except (ValueError, OverflowError) as error:  # a number or a date that does not exist
        raise yaml.YAMLError(_short(str(error))) from None
    finally:
        loader.dispose()


_TOO_DEEP = f"nested too deeply; expected at most {_DEEPEST} levels"


def _size(node: yaml.Node, sizes: dict[int, int], depth: int) -> int:
    """Return the number of nodes with aliases expanded; a size of 0 marks a node being counted."""
    if depth > _DEEPEST:
        raise yaml.YAMLError(_TOO_DEEP)
    if (size_so_far := sizes.get(id(node))) is not None:
        if size_so_far == 0:
            raise yaml.YAMLError("an alias refers to a value that contains the alias")
        return size_so_far
    sizes[id(node)] = 0
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    size = 1 + sum(_size(child, sizes, depth + 1) for child in children)
    sizes[id(node)] = size
    return size


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]} ..."
