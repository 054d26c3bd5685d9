"""DynamoDB, S3, Secrets Manager and SNS: where the pipeline stores and sends things."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.control import LocalCloud
from tests.integration.lab import Lab, allow, unique

THREADS = 16
LEASE = {"resource": {"S": "endpoint/lexline"}}


@pytest.fixture
def table(lab: Lab) -> str:
    """A table of leases."""
    name = unique("table")
    lab.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "resource", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "resource", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


@pytest.fixture
def table_arn(cloud: LocalCloud, table: str) -> str:
    return f"arn:aws:dynamodb:{cloud.region}:{cloud.account}:table/{table}"


# --- DynamoDB ---


def lease(table: str, owner: str, now: int) -> dict[str, Any]:
    """An UpdateItem that takes a lease without an owner, and counts how often it was taken."""
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


def stored(lab: Lab, table: str, key: str) -> Any:
    """The item with this key, or None."""
    dynamodb = lab.client("dynamodb")
    return dynamodb.get_item(TableName=table, Key={"resource": {"S": key}}, ConsistentRead=True).get("Item")


def put_item(table: str, key: str, **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": table, "Item": {"resource": {"S": key}}, **more}}


def test_a_lease_has_one_owner_and_a_refusal_names_it(lab: Lab, table: str) -> None:
    dynamodb = lab.client("dynamodb")
    taken = dynamodb.update_item(**lease(table, "first", 100), ReturnValues="ALL_NEW")["Attributes"]
    expected = {**LEASE, "owner": {"S": "first"}, "expires": {"N": "160"}, "made": {"N": "100"}}
    assert taken == {**expected, "generation": {"N": "1"}}
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException) as refused:
        dynamodb.update_item(**lease(table, "second", 130), ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert refused.value.response["Item"] == taken
    later = dynamodb.update_item(**lease(table, "second", 200), ReturnValues="ALL_NEW")["Attributes"]
    assert (later["owner"]["S"], later["generation"]["N"], later["made"]["N"]) == ("second", "2", "100")
    assert stored(lab, table, "endpoint/lexline") == later


def test_one_of_many_concurrent_requests_gets_the_lease(lab: Lab, table: str) -> None:
    dynamodb, barrier = lab.client("dynamodb"), threading.Barrier(THREADS)

    def take(number: int, now: int) -> bool:
        barrier.wait()
        try:
            dynamodb.update_item(**lease(table, f"owner-{number}", now))
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    with ThreadPoolExecutor(THREADS) as threads:
        for round_ in range(1, 11):
            won = list(threads.map(take, range(THREADS), [round_ * 1000] * THREADS))
            assert won.count(True) == 1
            item = stored(lab, table, "endpoint/lexline")
            assert item["owner"]["S"] == f"owner-{won.index(True)}"
            assert item["generation"]["N"] == str(round_)


def test_a_transaction_is_atomic_and_says_which_part_failed(lab: Lab, table: str) -> None:
    dynamodb = lab.client("dynamodb")
    dynamodb.update_item(**lease(table, "first", 100))
    put = put_item(
        table,
        "run/1",
        ConditionExpression="attribute_not_exists(#key)",
        ExpressionAttributeNames={"#key": "resource"},
    )

    def owned_by(owner: str) -> dict[str, Any]:
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
        dynamodb.transact_write_items(TransactItems=[put, owned_by("second")])
    reasons = cancelled.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None", "ConditionalCheckFailed"]
    assert reasons[1]["Item"]["owner"] == {"S": "first"}
    assert stored(lab, table, "run/1") is None
    dynamodb.transact_write_items(TransactItems=[put, owned_by("first")])
    assert stored(lab, table, "run/1")


def test_a_transaction_needs_the_permission_for_each_of_its_parts(
    lab: Lab, table: str, table_arn: str
) -> None:
    check = {
        "TableName": table,
        "Key": LEASE,
        "ConditionExpression": "attribute_not_exists(generation)",
    }
    parts = [put_item(table, "run/1"), {"ConditionCheck": check}]
    may_put = lab.client_as("dynamodb", allow("dynamodb:PutItem", table_arn))
    with pytest.raises(ClientError, match="not authorized to perform: dynamodb:ConditionCheckItem"):
        may_put.transact_write_items(TransactItems=parts)
    assert stored(lab, table, "run/1") is None
    both = allow(["dynamodb:PutItem", "dynamodb:ConditionCheckItem"], table_arn)
    lab.client_as("dynamodb", both).transact_write_items(TransactItems=parts)


def test_a_role_can_be_limited_to_its_own_items(lab: Lab, table: str, table_arn: str) -> None:
    own_keys = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["run/*"]}}
    dynamodb = lab.client_as("dynamodb", allow("dynamodb:*", table_arn, Condition=own_keys))

    def operations(key: str) -> list[Callable[[], Any]]:
        item = {"resource": {"S": key}}
        named: dict[str, Any] = {"TableName": table, "Key": item}
        query = {
            "KeyConditionExpression": "#key = :key",
            "ExpressionAttributeNames": {"#key": "resource"},
            "ExpressionAttributeValues": {":key": {"S": key}},
        }
        return [
            lambda: dynamodb.put_item(TableName=table, Item=item),
            lambda: dynamodb.get_item(**named),
            lambda: dynamodb.query(TableName=table, **query),
            lambda: dynamodb.update_item(**named, UpdateExpression="REMOVE expires"),
            lambda: dynamodb.batch_get_item(RequestItems={table: {"Keys": [item]}}),
            lambda: dynamodb.batch_write_item(RequestItems={table: [{"DeleteRequest": {"Key": item}}]}),
            lambda: dynamodb.delete_item(**named),
            # One foreign item is enough to refuse a transaction.
            lambda: dynamodb.transact_write_items(
                TransactItems=[put_item(table, key), put_item(table, "run/2")]
            ),
        ]

    for own, foreign in zip(operations("run/1"), operations("endpoint/lexline"), strict=True):
        own()
        with pytest.raises(ClientError, match="AccessDeniedException"):
            foreign()


# --- S3 ---


@pytest.mark.parametrize("name", ["texts", "a.b-c", "1texts2", "a" * 63])
def test_a_bucket_may_have_a_name_that_s3_allows(lab: Lab, name: str) -> None:
    s3 = lab.client("s3")
    s3.create_bucket(Bucket=name)
    s3.delete_bucket(Bucket=name)


@pytest.mark.parametrize(
    "name",
    [
        *("ab", "a" * 64, "Texts", "my_texts", "-texts", "texts-", "texts.", "a..b", "192.168.5.4"),
        *("xn--texts", "sthree-texts", "amzn-s3-demo-texts"),
        *("texts-s3alias", "texts--ol-s3", "texts.mrap", "texts--table-s3"),
    ],
)
def test_a_bucket_name_that_s3_refuses_is_refused(lab: Lab, name: str) -> None:
    s3 = lab.client("s3")
    with pytest.raises(ClientError) as refused:
        s3.create_bucket(Bucket=name)
    assert refused.value.response["Error"]["Code"] == "InvalidBucketName"
    assert name not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


# --- Secrets Manager and SNS ---


@pytest.mark.parametrize("by", ["Name", "ARN"])
def test_a_policy_names_a_secret_with_any_suffix(lab: Lab, cloud: LocalCloud, by: str) -> None:
    name = f"lexline/{unique('secret')}"
    created = lab.client("secretsmanager").create_secret(Name=name, SecretString='{"token": "t"}')

    def reader(secret: str) -> Any:
        arn = f"arn:aws:secretsmanager:{cloud.region}:{cloud.account}:secret:{secret}-??????"
        return lab.client_as("secretsmanager", allow("secretsmanager:GetSecretValue", arn))

    assert reader(name).get_secret_value(SecretId=created[by])["SecretString"] == '{"token": "t"}'
    with pytest.raises(ClientError, match="AccessDeniedException"):
        reader(f"{name}-of-another").get_secret_value(SecretId=created[by])


def test_a_message_reaches_a_topics_queue_with_its_attributes(lab: Lab) -> None:
    topic, queue = lab.topic()
    lab.client_as("sns", allow("sns:Publish", topic)).publish(
        TopicArn=topic,
        Subject="Lexline sotu: Deployed",
        Message="the report",
        MessageAttributes={"status": {"DataType": "String", "StringValue": "Deployed"}},
    )
    message = lab.receive(queue)
    assert (message["Subject"], message["Message"]) == ("Lexline sotu: Deployed", "the report")
    assert message["MessageAttributes"] == {"status": {"Type": "String", "Value": "Deployed"}}
    other = lab.client_as("sns", allow("sns:Publish", f"{topic}-of-another"))
    with pytest.raises(ClientError, match=r"AuthorizationError|AccessDenied"):
        other.publish(TopicArn=topic, Message="m")
