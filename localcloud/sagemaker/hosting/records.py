"""The records of models, endpoint configs and endpoints."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localcloud.sagemaker.core.context import now
from localcloud.sagemaker.hosting.deployment import Deployment, Size


@dataclass(frozen=True)
class Model:
    """A model: a container image, its artifact and the role it runs as."""

    arn: str
    request: dict[str, Any]
    created: datetime

    @property
    def name(self) -> str:
        """The model's name as the caller wrote it."""
        return str(self.request["ModelName"])

    @property
    def role(self) -> str:
        """The ARN of the execution role."""
        return str(self.request["ExecutionRoleArn"])

    @property
    def container(self) -> dict[str, Any]:
        """The container that handles invocations."""
        container: dict[str, Any] = self.request.get("PrimaryContainer") or self.request["Containers"][0]
        return container

    def summary(self) -> dict[str, Any]:
        """Return the model's entry in ListModels."""
        return {"ModelName": self.name, "ModelArn": self.arn, "CreationTime": self.created}

    def describe(self) -> dict[str, Any]:
        """Return the response of DescribeModel."""
        return _describe(self.request, self.summary())


@dataclass(frozen=True)
class EndpointConfig:
    """An endpoint config: which models an endpoint serves and on which instances. Immutable, as on AWS."""

    arn: str
    request: dict[str, Any]
    created: datetime

    @property
    def name(self) -> str:
        """The config's name as the caller wrote it."""
        return str(self.request["EndpointConfigName"])

    @property
    def variants(self) -> list[dict[str, Any]]:
        """The production variants."""
        variants: list[dict[str, Any]] = self.request["ProductionVariants"]
        return variants

    @property
    def serverless(self) -> bool:
        """Whether its endpoint is serverless. A real-time endpoint has instances."""
        return any("ServerlessConfig" in variant for variant in self.variants)

    def summary(self) -> dict[str, Any]:
        """Return the config's entry in ListEndpointConfigs."""
        return {"EndpointConfigName": self.name, "EndpointConfigArn": self.arn, "CreationTime": self.created}

    def describe(self) -> dict[str, Any]:
        """Return the response of DescribeEndpointConfig."""
        return _describe(self.request, self.summary())


def _describe(request: dict[str, Any], summary: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in request.items() if name != "Tags"}
    return {"EnableNetworkIsolation": False} | given | summary


@dataclass
class Update:
    """An update of an endpoint that is in progress.

    sizes: for each variant, its new weight and number of instances.
    deployment: the new fleets, once they can receive requests.
    share: the fraction of the requests that the new fleets receive.
    status: the VariantStatus of all variants, the beginning of its message, and its start time.
    """

    config: EndpointConfig
    sizes: Mapping[str, Size]
    since: datetime
    deployment: Deployment | None = None
    share: float = 0.0
    status: tuple[str, str, datetime] | None = None
    _owed: float = 0.0

    def enter(self, status: str, message: str, share: float) -> None:
        """Move to a VariantStatus and set the share of the requests."""
        self.status = (status, message, now())
        self.share = share

    def takes_next(self) -> bool:
        """Return whether the new fleets receive the next request.

        The choice is not random: at a share of 0.3, exactly three of ten requests go to the new fleets.
        """
        self._owed += self.share
        if self._owed < 1 - 1e-9:  # ten times 0.1 is slightly less than 1
            return False
        self._owed -= 1
        return True

    def summary(self) -> dict[str, Any]:
        """Return DescribeEndpoint's PendingDeploymentSummary."""
        return {
            "EndpointConfigName": self.config.name,
            "ProductionVariants": [self._variant(variant) for variant in self.config.variants],
            "StartTime": self.since,
        }

    def _variant(self, variant: dict[str, Any]) -> dict[str, Any]:
        size = self.sizes[variant["VariantName"]]
        summary = {"VariantName": variant["VariantName"], "DesiredWeight": size.weight}
        active = math.ceil(self.share * size.instance_count)
        if "ServerlessConfig" in variant:
            summary["DesiredServerlessConfig"] = variant["ServerlessConfig"]
        else:
            summary |= {
                "CurrentInstanceCount": active,
                "DesiredInstanceCount": size.instance_count,
                "InstanceType": variant["InstanceType"],
            }
        if self.status:
            status, message, since = self.status
            instances = active if self.share else size.instance_count
            text = f"{message} {instances} instance(s)."
            summary["VariantStatus"] = [{"Status": status, "StatusMessage": text, "StartTime": since}]
        return summary


@dataclass
class Endpoint:
    """An endpoint: its status, the deployment that serves and the update in progress."""

    name: str
    arn: str
    config: EndpointConfig
    created: datetime
    modified: datetime
    status: str = "Creating"
    failure_reason: str | None = None
    serving: Deployment | None = None
    update: Update | None = None
    deployment_config: dict[str, Any] | None = None

    def enter(self, status: str) -> None:
        """Move to a status."""
        self.status = status
        self.modified = now()

    def next_deployment(self) -> Deployment | None:
        """Return the deployment that receives the next request, or None if none serves."""
        update = self.update
        if update and update.deployment and update.takes_next():
            return update.deployment
        return self.serving if self.status != "Deleting" else None

    def summary(self) -> dict[str, Any]:
        """Return the endpoint's entry in ListEndpoints."""
        return {
            "EndpointName": self.name,
            "EndpointArn": self.arn,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
            "EndpointStatus": self.status,
        }

    def describe(self) -> dict[str, Any]:
        """Return the response of DescribeEndpoint.

        It describes the previous config until an update has succeeded.
        """
        description = self.summary() | {
            "EndpointConfigName": self.config.name,
            "FailureReason": self.failure_reason,
            "LastDeploymentConfig": self.deployment_config,
            "DataCaptureConfig": _data_capture(self.config),
        }
        if self.serving:
            description["ProductionVariants"] = [variant.summary() for variant in self.serving.variants]
        if self.update:
            description["PendingDeploymentSummary"] = self.update.summary()
        return description


def _data_capture(config: EndpointConfig) -> dict[str, Any] | None:
    """Return the configured data capture with CaptureStatus Stopped: the local cloud captures nothing."""
    capture = config.request.get("DataCaptureConfig")
    if capture is None:
        return None
    return {
        "EnableCapture": capture.get("EnableCapture", False),
        "CaptureStatus": "Stopped",
        "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
        "DestinationS3Uri": capture["DestinationS3Uri"],
        "KmsKeyId": capture.get("KmsKeyId", ""),
    }
