"""DynamoDB, Secrets Manager and SNS in the local cloud: what the pipeline's steps keep, read and tell."""

import json
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

LEASE = {"resource": {"S": "endpoint/lexline"}}


@pytest.fixture
def table(client: Callable[..., Any]) -> str:
    """A table of leases."""
    name = f"table-{uuid.uuid4().hex[:12]}"
    client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "resource", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "resource", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def lease(table: str, owner: str, now: int) -> dict[str, Any]:
    """An UpdateItem that takes the lease where nobody has it, counting how often it was taken."""
    return {
        "TableName": table,
        "Key": LEASE,
        "UpdateExpression": "SET #owner = :owner, expires = :expires, made = if_not_exists(made, :now)"
        " ADD generation :one",
        "ConditionExpression": "attribute_not_exists(#owner) OR expires < :now OR #owner = :owner",
        "ExpressionAttributeNames": {"#owner": "owner"},
        "ExpressionAttributeValues": {
            ":owner": {"S": owner},
            ":expires": {"N": str(now + 60)},
            ":now": {"N": str(now)},
            ":one": {"N": "1"},
        },
    }


def test_a_lease_is_taken_once_and_who_has_it_is_told(client: Any, table: str) -> None:
    dynamodb = client("dynamodb")
    taken = dynamodb.update_item(**lease(table, "first", 100), ReturnValues="ALL_NEW")["Attributes"]
    expected = {**LEASE, "owner": {"S": "first"}, "expires": {"N": "160"}, "made": {"N": "100"}}
    assert taken == {**expected, "generation": {"N": "1"}}
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException) as refused:
        dynamodb.update_item(**lease(table, "second", 130), ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert refused.value.response["Item"] == taken
    later = dynamodb.update_item(**lease(table, "second", 200), ReturnValues="ALL_NEW")["Attributes"]
    assert (later["owner"]["S"], later["generation"]["N"], later["made"]["N"]) == ("second", "2", "100")
    assert dynamodb.get_item(TableName=table, Key=LEASE, ConsistentRead=True)["Item"] == later


def test_of_many_that_want_a_lease_at_once_one_gets_it(client: Any, cloud: Any, table: str) -> None:
    dynamodb, barrier = cloud.client("dynamodb"), threading.Barrier(16)

    def take(number: int, moment: int) -> bool:
        barrier.wait()
        try:
            dynamodb.update_item(**lease(table, f"owner-{number}", moment))
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        for round_ in range(1, 11):
            won = list(threads.map(take, range(16), [round_ * 1000] * 16))
            assert won.count(True) == 1
            held = dynamodb.get_item(TableName=table, Key=LEASE, ConsistentRead=True)["Item"]
            assert held["owner"]["S"] == f"owner-{won.index(True)}"
            assert held["generation"]["N"] == str(round_)


def test_a_transaction_is_all_or_nothing_and_says_what_failed(client: Any, table: str) -> None:
    dynamodb = client("dynamodb")
    dynamodb.update_item(**lease(table, "first", 100))
    put = {
        "Put": {
            "TableName": table,
            "Item": {"resource": {"S": "run/1"}},
            "ConditionExpression": "attribute_not_exists(#key)",
            "ExpressionAttributeNames": {"#key": "resource"},
        }
    }

    def held_by(owner: str) -> dict[str, Any]:
        return {
            "ConditionCheck": {
                "TableName": table,
                "Key": LEASE,
                "ConditionExpression": "#owner = :owner",
                "ExpressionAttributeNames": {"#owner": "owner"},
                "ExpressionAttributeValues": {":owner": {"S": owner}},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as cancelled:
        dynamodb.transact_write_items(TransactItems=[put, held_by("second")])
    reasons = cancelled.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None", "ConditionalCheckFailed"]
    assert reasons[1]["Item"]["owner"] == {"S": "first"}
    key = {"resource": {"S": "run/1"}}
    assert "Item" not in dynamodb.get_item(TableName=table, Key=key)
    dynamodb.transact_write_items(TransactItems=[put, held_by("first")])
    assert "Item" in dynamodb.get_item(TableName=table, Key=key)


def test_a_transaction_needs_the_permission_of_each_of_its_parts(
    lab: Any, client: Any, cloud: Any, table: str
) -> None:
    arn = f"arn:aws:dynamodb:{cloud.region}:{cloud.account}:table/{table}"
    put = {"Put": {"TableName": table, "Item": {"resource": {"S": "run/1"}}}}
    check = {
        "ConditionCheck": {
            "TableName": table,
            "Key": LEASE,
            "ConditionExpression": "attribute_not_exists(generation)",
        }
    }
    may_put = {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": arn}
    with pytest.raises(ClientError, match="not authorized to perform: dynamodb:ConditionCheckItem"):
        lab.client_as("dynamodb", may_put).transact_write_items(TransactItems=[put, check])
    assert "Item" not in client("dynamodb").get_item(TableName=table, Key={"resource": {"S": "run/1"}})
    may_both = {**may_put, "Action": ["dynamodb:PutItem", "dynamodb:ConditionCheckItem"]}
    lab.client_as("dynamodb", may_both).transact_write_items(TransactItems=[put, check])


def test_a_role_may_be_kept_to_its_own_items(lab: Any, cloud: Any, table: str) -> None:
    dynamodb = lab.client_as(
        "dynamodb",
        {
            "Effect": "Allow",
            "Action": "dynamodb:*",
            "Resource": f"arn:aws:dynamodb:{cloud.region}:{cloud.account}:table/{table}",
            "Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["run/*"]}},
        },
    )

    def operations(key: str) -> list[Callable[[], Any]]:
        item = {"resource": {"S": key}}
        named: dict[str, Any] = {"TableName": table, "Key": item}
        query = {
            "ExpressionAttributeNames": {"#key": "resource"},
            "ExpressionAttributeValues": {":key": {"S": key}},
        }
        return [
            lambda: dynamodb.put_item(TableName=table, Item=item),
            lambda: dynamodb.get_item(**named),
            lambda: dynamodb.query(TableName=table, KeyConditionExpression="#key = :key", **query),
            lambda: dynamodb.update_item(**named, UpdateExpression="REMOVE expires"),
            lambda: dynamodb.batch_get_item(RequestItems={table: {"Keys": [item]}}),
            lambda: dynamodb.batch_write_item(RequestItems={table: [{"DeleteRequest": {"Key": item}}]}),
            lambda: dynamodb.delete_item(**named),
        ]

    for own, others in zip(operations("run/1"), operations("endpoint/lexline"), strict=True):
        own()
        with pytest.raises(ClientError, match="AccessDeniedException"):
            others()
    own, others = (
        {"Put": {"TableName": table, "Item": {"resource": {"S": key}}}} for key in ("run/1", "endpoint/1")
    )
    dynamodb.transact_write_items(TransactItems=[own])
    with pytest.raises(ClientError, match="AccessDeniedException"):
        dynamodb.transact_write_items(TransactItems=[own, others])


@pytest.mark.parametrize("by", ["Name", "ARN"])
def test_a_secret_is_read_by_who_may_read_it_whatever_its_suffix(
    lab: Any, client: Any, cloud: Any, by: str
) -> None:
    name = f"lexline/{uuid.uuid4().hex[:12]}"
    made = client("secretsmanager").create_secret(Name=name, SecretString='{"token": "t"}')

    def reader(of: str) -> Any:
        arn = f"arn:aws:secretsmanager:{cloud.region}:{cloud.account}:secret:{of}-??????"
        allowed = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": arn}
        return lab.client_as("secretsmanager", allowed)

    assert reader(name).get_secret_value(SecretId=made[by])["SecretString"] == '{"token": "t"}'
    with pytest.raises(ClientError, match="AccessDeniedException"):
        reader(f"{name}-of-somebody-else").get_secret_value(SecretId=made[by])


def test_a_message_reaches_a_topics_queue_with_its_attributes(lab: Any, client: Any, until: Any) -> None:
    topic, queue = lab.topic()
    may = {"Effect": "Allow", "Action": "sns:Publish", "Resource": topic}
    lab.client_as("sns", may).publish(
        TopicArn=topic,
        Subject="Lexline sotu: Deployed",
        Message="the report",
        MessageAttributes={"status": {"DataType": "String", "StringValue": "Deployed"}},
    )
    found = until(lambda: client("sqs").receive_message(QueueUrl=queue).get("Messages"), "the message")
    told = json.loads(found[0]["Body"])
    assert (told["Subject"], told["Message"]) == ("Lexline sotu: Deployed", "the report")
    assert told["MessageAttributes"] == {"status": {"Type": "String", "Value": "Deployed"}}
    with pytest.raises(ClientError, match=r"AuthorizationError|AccessDenied"):
        lab.client_as("sns", {**may, "Resource": f"{topic}-of-somebody-else"}).publish(
            TopicArn=topic, Message="m"
        )
