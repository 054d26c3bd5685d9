"""Authorization of a request: actions on resources, and iam:PassRole for the roles in it.

Resources and condition keys by operation:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
The host knows the tags of a resource (aws:ResourceTag). The tags in a request are passed to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.sagemaker.core.host import AccessDenied, Host


@dataclass(frozen=True)
class Caller:
    """The signer of a request. `denied` is the error to raise if the host denies an action."""

    host: Host
    headers: Mapping[str, str]
    query: Mapping[str, Any]
    denied: type[Exception]

    def authorize(self, action: str, resource: str, keys: Mapping[str, Any] | None = None) -> None:
        """Raise `denied` unless the caller may perform the action on the resource.

        Args:
            action: For example "sagemaker:CreateModel".
            resource: An ARN, or "*".
            keys: Values of condition keys, e.g. of aws:RequestTag/team.
        """
        try:
            self.host.authorize(self.headers, self.query, action, resource, keys or {})
        except AccessDenied as error:
            raise self.denied(str(error)) from error

    def authorize_pass_role(self, role_arn: str) -> None:
        """Raise `denied` unless the caller may pass the role to SageMaker."""
        try:
            self.host.authorize_pass_role(self.headers, self.query, role_arn)
        except AccessDenied as error:
            raise self.denied(str(error)) from error


def keys_of_tags(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the condition keys about the tags that a request adds or deletes."""
    given = request.get("Tags", ())
    # Application Auto Scaling's are a mapping.
    tags = given if isinstance(given, Mapping) else {tag["Key"]: tag["Value"] for tag in given}
    names = [*tags, *request.get("TagKeys", ())]
    return {f"aws:RequestTag/{key}": value for key, value in tags.items()} | (
        {"aws:TagKeys": names} if names else {}
    )
