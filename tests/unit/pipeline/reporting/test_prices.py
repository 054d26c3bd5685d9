"""prices: the user's own price table, or the dated list prices."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from contracts.request import HostingResources, TrainingResources
from core.errors import InvalidInput
from reporting import prices
from reporting.prices import PriceTable, list_prices
from tests.unit.pipeline.stubbed_aws import StubbedAws

TABLE: dict[str, Any] = {
    "date": "2026-09-01",
    "currency": "USD",
    "region": "eu-west-1",
    "source": "our contract",
    "training": {"ml.m5.xlarge": 1.0},
    "hosting": {"ml.m5.large": 2.0},
    "serverless": {"3072": 0.001},
    "storage_per_gb_month": 0.02,
    "lambda_per_gb_second": 0.00001,
    "step_functions_per_1000_transitions": 0.025,
}


# --- the list prices ---------------------------------------------------------------------------------


def test_the_list_has_a_price_for_what_runs_use_by_default() -> None:
    assert TrainingResources().instance_type in list_prices().training
    assert HostingResources().instance_type in list_prices().hosting
    assert list(list_prices().serverless) == [1024, 2048, 3072, 4096, 5120, 6144]
    assert list_prices().region == "us-east-1"


def test_the_list_names_only_instance_types_that_sagemaker_has() -> None:
    model = Path(botocore.__file__).parent / "data/sagemaker/2017-07-24/service-2.json.gz"
    shapes = json.loads(gzip.decompress(model.read_bytes()))["shapes"]
    assert set(list_prices().training) <= set(shapes["TrainingInstanceType"]["enum"])
    assert set(list_prices().hosting) <= set(shapes["ProductionVariantInstanceType"]["enum"])


def test_in_the_list_twice_the_machine_costs_about_twice_as_much() -> None:
    # Only the GPU families have sizes that add processors to one GPU, and cost less than the double.
    for table in (list_prices().training, list_prices().hosting):
        for small, large in (("large", "xlarge"), ("xlarge", "2xlarge"), ("2xlarge", "4xlarge")):
            for family in ("m5", "m7i", "c5", "c6i", "c7i"):
                one, two = table.get(f"ml.{family}.{small}"), table.get(f"ml.{family}.{large}")
                assert one is None or two is None or two == pytest.approx(2 * one, rel=0.01)


# --- a table's fields --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("date", "22.9.2026", "date"),
        ("currency", "EUR", "currency"),
        ("region", "Frankfurt", "region"),
        ("source", "", "source"),
        ("training", {"ml.m5.xlarge": -1}, "training.ml.m5.xlarge"),
        ("training", {"m5.xlarge": 1}, "training.m5.xlarge"),
        ("hosting", {"ml.m5.large": 0}, "hosting.ml.m5.large"),
        ("hosting", {"ml.m5.large": "NaN"}, "hosting.ml.m5.large"),
        ("serverless", {"1000": 0.1}, "serverless.1000"),
        ("storage_per_gb_month", None, "storage_per_gb_month"),
        ("storage", 1, "storage"),
    ],
)
def test_an_invalid_table_is_refused_by_the_fields_name(field: str, value: object, named: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^The price table is invalid\. {named}\b"):
        PriceTable.load(json.dumps({**TABLE, field: value}))


# --- the table in the bucket -------------------------------------------------------------------------


def stored(stubbed: StubbedAws, raw: bytes) -> None:
    body = {"Body": StreamingBody(io.BytesIO(raw), len(raw))}
    stubbed.answers("s3", "get_object", body, Bucket="texts", Key="prices.json")


def test_a_table_in_the_bucket_takes_the_place_of_the_list(stubbed: StubbedAws) -> None:
    stored(stubbed, json.dumps(TABLE).encode())
    assert prices.current() == (PriceTable.model_validate(TABLE), [])


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[]", b'{"hosting": {}}', b'{"region": "Ireland"}'])
def test_an_invalid_table_in_the_bucket_is_not_used_and_a_note_says_so(
    stubbed: StubbedAws, raw: bytes
) -> None:
    stored(stubbed, raw)
    table, (note,) = prices.current()
    assert table == list_prices()
    assert note.startswith("prices.json in the bucket is not used. The price table is invalid.")
    assert len(note) <= 1000


@pytest.mark.parametrize("code", ["NoSuchKey", "AccessDenied"])
def test_a_bucket_without_a_table_leaves_the_list(stubbed: StubbedAws, code: str) -> None:
    """S3 returns NoSuchKey to a caller that may list the bucket, else AccessDenied."""
    stubbed.refuses("s3", "get_object", code)
    assert prices.current() == (list_prices(), [])


def test_a_bucket_that_cannot_be_read_now_is_an_error_to_retry(stubbed: StubbedAws) -> None:
    stubbed.refuses("s3", "get_object", "InternalError", status=500)
    with pytest.raises(ClientError, match="InternalError"):
        prices.current()
