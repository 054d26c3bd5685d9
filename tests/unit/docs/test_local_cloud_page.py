"""docs/local-cloud.md has every operation, and localcloud/ministack/README.md every module."""

import re
from pathlib import Path
from unittest import mock

import botocore.session

from localcloud.application_autoscaling.records import ScalableTargets
from localcloud.application_autoscaling.service import ApplicationAutoScaling
from localcloud.sagemaker.service import SageMaker
from tests.unit.docs.tables import rows
from tests.unit.template.conftest import PROJECT

MINISTACK = PROJECT / "localcloud" / "ministack"


def test_the_table_of_operations_is_the_services_own(tmp_path: Path) -> None:
    host = mock.Mock(region="us-east-1", account="000000000000")
    sagemaker = SageMaker(host, tmp_path, ScalableTargets())
    scaling = ApplicationAutoScaling(host, ScalableTargets(), sagemaker.variant)
    documented = {
        name
        for row in rows("local-cloud.md", "operations")
        for name in re.findall(r"`(\w+)`", row["operations"])
    }
    served = {*sagemaker._table(), *scaling._table(), "InvokeEndpoint"}
    sagemaker.close()
    assert documented == served


def test_every_operation_is_one_of_awss() -> None:
    session = botocore.session.get_session()
    known = {
        name
        for service in ("sagemaker", "sagemaker-runtime", "application-autoscaling")
        for name in session.get_service_model(service).operation_names
    }
    for row in rows("local-cloud.md", "operations"):
        assert set(re.findall(r"`(\w+)`", row["operations"])) <= known


def test_every_change_of_ministack_says_what_differs_and_how_to_see_it() -> None:
    changes = {
        str(module.relative_to(MINISTACK)): module.read_text(encoding="utf-8")
        for module in MINISTACK.glob("*/*.py")
        if "\nMiniStack: " in module.read_text(encoding="utf-8")
    }
    for text in changes.values():
        assert re.search(r"^AWS: .*^https://.*^MiniStack: .*^Here: ", text, re.DOTALL | re.MULTILINE)
    table = re.findall(r"^\| `(.*?)` \| .{20,} \|$", (MINISTACK / "README.md").read_text(), re.MULTILINE)
    assert table == sorted(changes)
