"""The role for notebooks: only where it is asked for, enough for the SageMaker SDK, and no more."""

import re
from collections.abc import Callable

import pytest

from tests.unit.template.conftest import ACCOUNT, Template, listed, names_of, source, statements

ROLE_CHECK = {
    "ecr:GetAuthorizationToken",
    "cloudwatch:PutMetricData",
    "ec2:CreateNetworkInterface",
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteNetworkInterfacePermission",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
}
"""What version 3 of the SDK asks IAM about a role, without resources and conditions."""


@pytest.fixture
def asked_for(deployed_with: Callable[..., Template]) -> Template:
    return deployed_with(NotebookRole="CREATE")


def test_there_is_no_role_unless_it_is_asked_for(template: Template) -> None:
    assert not [name for name in template.resources if name.startswith("Notebook")]
    assert source()["Outputs"]["NotebookRoleArn"]["Condition"] == "WithNotebookRole"


def test_the_role_passes_the_sdks_check_and_allows_nothing_else_everywhere(asked_for: Template) -> None:
    role = asked_for.of("AWS::IAM::Role")["NotebookExecutionRole"]
    everywhere = [each for each in statements(role) if each["Resource"] == ["*"]]
    assert {action for each in everywhere for action in each["Action"]} == ROLE_CHECK
    assert not [each for each in everywhere if "Condition" in each]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_what_a_notebook_makes_cannot_be_mistaken_for_a_runs_or_another_stacks(asked_for: Template) -> None:
    # The name of a stack or a dataset has no three hyphens in a row.
    policy = asked_for.of("AWS::IAM::Policy")["NotebookPolicy"]
    made = [
        arn for each in listed(policy["PolicyDocument"]) for arn in each["Resource"] if ":sagemaker:" in arn
    ]
    names = {arn.rpartition("/")[2] for arn in made}
    assert names == {"lexline---notebook-*", "lexline"}
    (invoke,) = [
        each
        for each in listed(policy["PolicyDocument"])
        if any(a.endswith("/lexline") for a in each["Resource"])
    ]
    assert invoke["Action"] == ["sagemaker:InvokeEndpoint"]


def test_the_role_writes_in_its_own_folder_and_uploads(asked_for: Template) -> None:
    role = asked_for.of("AWS::IAM::Role")["NotebookExecutionRole"]
    policy = asked_for.of("AWS::IAM::Policy")["NotebookPolicy"]
    written = {
        arn
        for each in [*statements(role), *listed(policy["PolicyDocument"])]
        if "s3:PutObject" in each["Action"]
        for arn in each["Resource"]
    }
    assert written == {"<Bucket.Arn>/notebook/*", "<Bucket.Arn>/uploads/*"}


def test_the_role_is_passed_to_sagemaker_only(asked_for: Template) -> None:
    policy = asked_for.of("AWS::IAM::Policy")["NotebookPolicy"]
    (passing,) = [each for each in listed(policy["PolicyDocument"]) if "iam:PassRole" in each["Action"]]
    assert passing["Resource"] == ["<NotebookExecutionRole.Arn>"]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    assert not [a for each in listed(policy["PolicyDocument"]) for a in each["Action"] if re.search(r"\*", a)]
    assert "NotebookExecutionRole" in names_of("AWS::IAM::Role")
