"""The DynamoDB table in moto."""

import functools
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from moto.core.botocore_stubber import BotocoreStubber
from moto.dynamodb.models import dynamodb_backends

from tests.unit.pipeline.in_memory import InMemory, client


class TableInMemory(InMemory):
    """One table with the key `resource`. Only one exists at a time."""

    SERVICE = "dynamodb"
    READS = ("GetItem",)

    def __init__(self, name: str = "tokens") -> None:
        super().__init__()
        self.name = name
        events = self.client.meta.events
        events.register("provide-client-params.dynamodb.GetItem", _check_consistent)
        events.register("before-send.dynamodb.*", _MOTO)
        dynamodb_backends.reset()
        _own_client().create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": "resource", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "resource", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )

    def put(self, key: str, **attributes: Any) -> None:
        """Write an item, in place of any other, from plain numbers, strings, sets and mappings."""
        item = {name: _Serializer().serialize(value) for name, value in attributes.items()}
        _own_client().put_item(TableName=self.name, Item={"resource": {"S": key}, **item})

    def get(self, key: str) -> dict[str, Any]:
        """Return an item's attributes without its key, as plain values; none if it does not exist."""
        item = _own_client().get_item(TableName=self.name, Key={"resource": {"S": key}}).get("Item", {})
        return {name: _Deserializer().deserialize(item[name]) for name in item.keys() - {"resource"}}


class _Serializer(TypeSerializer):
    def serialize(self, value: Any) -> Any:
        return super().serialize(Decimal(str(value)) if isinstance(value, float) else value)


class _Deserializer(TypeDeserializer):
    def _deserialize_n(self, value: str) -> float:
        return float(value)


# Moto answers only clients that have this handler; `mock_aws` would catch all clients of the process.
_MOTO = BotocoreStubber()
_MOTO.enabled = True


@functools.cache
def _own_client() -> Any:
    """Return the client for `put` and `get`, which are not the pipeline's calls."""
    own = client("dynamodb")
    own.meta.events.register("before-send.dynamodb.*", _MOTO)
    return own


def _check_consistent(params: dict[str, Any], **_: Any) -> None:
    # An eventually consistent read may miss the last write; moto never does.
    assert params.get("ConsistentRead") is True, "The pipeline must read the table with ConsistentRead=True."
