"""The DynamoDB table in memory.

Of the language of expressions it knows what the pipeline uses, and refuses the rest as DynamoDB refuses what
is malformed: names and values that are not told or not used, paths that overlap, a path into a map that is
not there. A read that is not consistent may be late, so it answers with the item as it was before the last
write.
"""

import copy
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from tests.unit.pipeline.in_memory import InMemory, Refusal

Item = dict[str, Any]
Path = tuple[str, ...]
Change = Callable[[Item, Item], None]

# The service's limit for an item, names and values together.
_LARGEST_ITEM = 400 * 1024
_TOKEN = re.compile(r"\s*(#\w+|:\w+|\w+|<=|>=|<>|[=<>,.()])")
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: one == other,
    "<>": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


class TableInMemory(InMemory):
    """One table by the key `resource`; `items` are as DynamoDB has them."""

    SERVICE = "dynamodb"
    READS = ("GetItem",)

    def __init__(self, name: str = "tokens") -> None:
        super().__init__()
        self.name = name
        self.items: dict[str, Item] = {}
        self._before_last_write: dict[str, Item] = {}

    # --- what a test does and sees

    def put(self, key: str, **attributes: Any) -> None:
        """Let an item be there, whatever was; numbers, texts and mappings are given plainly."""
        plainly = {"resource": key, **attributes}
        self.items[key] = {name: typed(value) for name, value in plainly.items()}

    def get(self, key: str) -> dict[str, Any]:
        """An item's attributes, plainly, but for its key; empty when there is none."""
        item = self.items.get(key, {})
        return {name: plain(value) for name, value in item.items() if name != "resource"}

    # --- between boto3 and the network

    def _key(self, asked: dict[str, Any]) -> str:
        if asked["TableName"] != self.name:
            raise Refusal("ResourceNotFoundException", "Requested resource not found")
        key = asked["Key"].get("resource", {}).get("S", "")
        if set(asked["Key"]) != {"resource"} or not 0 < len(key.encode()) <= 2048:
            raise _invalid("The provided key element does not match the schema")
        return str(key)

    def _GetItem(self, asked: dict[str, Any]) -> dict[str, Any]:
        key = self._key(asked)
        item = (self.items if asked.get("ConsistentRead") else self._before_last_write).get(key)
        return {"Item": copy.deepcopy(item)} if item else {}

    def _UpdateItem(self, asked: dict[str, Any]) -> dict[str, Any]:
        key = self._key(asked)
        item = copy.deepcopy(self.items.get(key, {"resource": {"S": key}}))
        seen = copy.deepcopy(item)
        for change in self._parsed(asked, key):
            change(seen, item)
        if _size(item) > _LARGEST_ITEM:
            raise _invalid("Item size to update has exceeded the maximum allowed size")
        self._write(key, item)
        return {"Attributes": copy.deepcopy(item)} if asked.get("ReturnValues") == "ALL_NEW" else {}

    def _DeleteItem(self, asked: dict[str, Any]) -> dict[str, Any]:
        key = self._key(asked)
        self._parsed(asked, key)
        self._write(key, None)
        return {}

    def _write(self, key: str, item: Item | None) -> None:
        self._before_last_write[key] = self.items.get(key, {})
        if item is None:
            self.items.pop(key, None)
        else:
            self.items[key] = item

    def _parsed(self, asked: dict[str, Any], key: str) -> list[Change]:
        """The update's changes, once the condition was found to hold."""
        names = asked.get("ExpressionAttributeNames")
        values = asked.get("ExpressionAttributeValues")
        if names == {} or values == {}:
            raise _invalid("ExpressionAttributeNames and -Values must not be empty")
        for value in (values or {}).values():
            _check(value)
        told = {*(names or {}), *(values or {})}
        used: set[str] = set()
        condition = _Condition(asked.get("ConditionExpression", ""), names or {}, values or {}, used)
        holds = condition.parsed() if "ConditionExpression" in asked else lambda _: True
        changes: list[Change] = []
        if "UpdateExpression" in asked:
            changes = _Update(asked["UpdateExpression"], names or {}, values or {}, used).parsed()
        if told - used:
            raise _invalid(f"unused in expressions: {', '.join(sorted(told - used))}")
        if not holds(self.items.get(key, {})):
            raise Refusal("ConditionalCheckFailedException", "The conditional request failed")
        return changes


class _Expression:
    """What update and condition expressions have in common: tokens, paths and values."""

    def __init__(
        self, text: str, names: Mapping[str, str], values: Mapping[str, Any], used: set[str]
    ) -> None:
        self.names, self.values, self.used = names, values, used
        self.tokens: list[str] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise self.malformed(text[at:].strip())
            self.tokens.append(match[1])
            at = match.end()

    @staticmethod
    def malformed(token: str) -> Refusal:
        return _invalid(f"Invalid expression: Syntax error; token: {token!r}")

    @property
    def next(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def take(self, *expected: str) -> str:
        token = self.next
        if not token or (expected and token not in expected):
            raise self.malformed(token or "<EOF>")
        return self.tokens.pop(0)

    def path(self) -> Path:
        steps = [self._name()]
        while self.next == ".":
            self.take(".")
            steps.append(self._name())
        return tuple(steps)

    def _name(self) -> str:
        token = self.take()
        # Plain names are DynamoDB's to take as well, were it not for its hundreds of reserved words.
        if token not in self.names:
            raise _invalid(f"An expression attribute name is not defined: {token}")
        self.used.add(token)
        return self.names[token]

    def value(self) -> Any:
        token = self.take()
        if token not in self.values:
            raise _invalid(f"An expression attribute value is not defined: {token}")
        self.used.add(token)
        return self.values[token]


class _Condition(_Expression):
    """`<test> AND <test>`: comparisons of a path or its size with a value, and whether a path exists."""

    def parsed(self) -> Callable[[Item], bool]:
        tests = [self._test()]
        while self.next == "AND":
            self.take("AND")
            tests.append(self._test())
        if self.next:
            raise self.malformed(self.next)
        return lambda item: all(test(item) for test in tests)

    def _test(self) -> Callable[[Item], bool]:
        if self.next in ("attribute_exists", "attribute_not_exists"):
            wanted = self.take() == "attribute_exists"
            path = self._argument()
            return lambda item: (_look(item, path) is not None) is wanted
        of_size = self.next == "size"
        if of_size:
            self.take()
        path = self._argument() if of_size else self.path()
        compare, other = _COMPARISONS[self.take(*_COMPARISONS)], self.value()

        def test(item: Item) -> bool:
            found = _look(item, path)
            if found is None:
                return False
            if of_size:
                return compare(_length(found), plain(other))
            # Values of two types are never equal, nor more or less than one another.
            return found.keys() == other.keys() and compare(plain(found), plain(other))

        return test

    def _argument(self) -> Path:
        self.take("(")
        path = self.path()
        self.take(")")
        return path


class _Update(_Expression):
    """Clauses, each at most once: SET path = value, REMOVE path, ADD path number."""

    def parsed(self) -> list[Change]:
        changes: list[Change] = []
        paths: list[Path] = []
        clauses: set[str] = set()
        while self.next:
            clause = self.take("SET", "REMOVE", "ADD")
            if clause in clauses:
                raise _invalid(f"The {clause!r} section can only be used once")
            clauses.add(clause)
            for path, change in self._actions(clause):
                if any(path[: len(other)] == other[: len(path)] for other in paths):
                    raise _invalid("Two document paths overlap with each other")
                if path[0] == "resource":
                    raise _invalid("Cannot update attribute resource, part of the key")
                paths.append(path)
                changes.append(change)
        if not changes:
            raise self.malformed("<EOF>")
        return changes

    def _actions(self, clause: str) -> Iterator[tuple[Path, Change]]:
        while True:
            path = self.path()
            if clause == "REMOVE":
                yield path, functools.partial(_remove, path)
            elif clause == "ADD":
                yield path, functools.partial(_add, path, self.value())
            else:
                self.take("=")
                yield path, functools.partial(_set, path, self.value())
            if self.next != ",":
                return
            self.take(",")


def _invalid(message: str) -> Refusal:
    return Refusal("ValidationException", message)


def _set(path: Path, value: Any, seen: Item, item: Item) -> None:
    _parent(item, path)[path[-1]] = copy.deepcopy(value)


def _remove(path: Path, seen: Item, item: Item) -> None:
    _parent(item, path).pop(path[-1], None)


def _add(path: Path, value: Any, seen: Item, item: Item) -> None:
    before = _look(seen, path) or {"N": "0"}
    if "N" not in before or "N" not in value:
        raise _invalid("An operand in the update expression has an incorrect data type")
    _parent(item, path)[path[-1]] = {"N": str(Decimal(before["N"]) + Decimal(value["N"]))}


def _parent(item: Item, path: Path) -> Item:
    """The map that holds the path's last step."""
    inner: Any = item
    for step in path[:-1]:
        inner = inner.get(step, {}).get("M")
        if inner is None:
            raise _invalid("The document path provided in the update expression is invalid for update")
    found: Item = inner
    return found


def _look(item: Item, path: Path) -> Any:
    """The value at a path, or None."""
    inner: Any = {"M": item}
    for step in path:
        inner = inner.get("M", {}).get(step)
        if inner is None:
            return None
    return inner


def _length(value: Any) -> int:
    kind, content = next(iter(value.items()))
    if kind not in ("S", "M", "L"):
        raise _invalid(f"Invalid operand type for size: {kind}")
    return len(content)


def _check(value: Mapping[str, Any]) -> None:
    ((kind, content),) = value.items()
    if kind == "N":
        try:
            number = Decimal(content)
        except InvalidOperation:
            raise _invalid(f"{content!r} cannot be converted to a number") from None
        if not number.is_finite() or len(number.as_tuple().digits) > 38:
            raise _invalid(f"{content!r} is no number of at most 38 digits")
    elif kind == "M":
        for inner in content.values():
            _check(inner)


def _size(item: Any) -> int:
    if isinstance(item, Mapping):
        return sum(len(str(name)) + _size(value) for name, value in item.items())
    return len(str(item).encode())


def typed(value: Any) -> dict[str, Any]:
    """A value as DynamoDB has it."""
    if isinstance(value, Mapping):
        return {"M": {name: typed(inner) for name, inner in value.items()}}
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def plain(value: Mapping[str, Any]) -> Any:
    """What DynamoDB's value stands for; a number as a float."""
    ((kind, content),) = value.items()
    if kind == "M":
        return {name: plain(inner) for name, inner in content.items()}
    return float(content) if kind == "N" else content
