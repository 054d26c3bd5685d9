"""An endpoint's record: what DescribeEndpoint tells of it, and which fleet the next request is for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localcloud.sagemaker.core.context import now
from localcloud.sagemaker.hosting.deployment import Deployment, Size
from localcloud.sagemaker.hosting.endpoint_configs import EndpointConfig


@dataclass
class Update:
    """A change of configuration under way.

    sizes: by variant, the weight and the number of instances it will have.
    deployment: the new fleets, once they may be sent requests.
    share: what part of the requests is sent to them.
    status: each variant's VariantStatus, how its message begins, and since when.
    """

    config: EndpointConfig
    sizes: Mapping[str, Size]
    since: datetime
    deployment: Deployment | None = None
    share: float = 0.0
    status: tuple[str, str, datetime] | None = None
    _owed: float = 0.0

    def enter(self, status: str, message: str, share: float) -> None:
        self.status = (status, message, now())
        self.share = share

    def takes_next(self) -> bool:
        """Whether the next request is for the new fleets.

        Not by chance: of ten requests at a share of 0.3 it is always three.
        """
        self._owed += self.share
        if self._owed < 1 - 1e-9:  # ten times 0.1 is a little less than 1
            return False
        self._owed -= 1
        return True

    def summary(self) -> dict[str, Any]:
        """DescribeEndpoint's PendingDeploymentSummary."""
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
    """One endpoint's record."""

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
        self.status = status
        self.modified = now()

    def next_deployment(self) -> Deployment | None:
        """The deployment the next request is for; None when nothing serves."""
        update = self.update
        if update and update.deployment and update.takes_next():
            return update.deployment
        return self.serving if self.status != "Deleting" else None

    def summary(self) -> dict[str, Any]:
        return {
            "EndpointName": self.name,
            "EndpointArn": self.arn,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
            "EndpointStatus": self.status,
        }

    def describe(self) -> dict[str, Any]:
        """What DescribeEndpoint answers; until an update has succeeded, of what was there before it."""
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
    """As configured; the local cloud captures nothing, and says so."""
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
