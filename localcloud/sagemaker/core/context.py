"""State that every kind of resource shares: the host, the lock, tags, quotas, the clock and the ARNs."""

import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from localcloud.sagemaker.core.errors import ValidationError
from localcloud.sagemaker.core.events import Announcer
from localcloud.sagemaker.core.host import Host
from localcloud.sagemaker.core.quotas import Quotas
from localcloud.sagemaker.core.tags import TagStore


def now() -> datetime:
    """Return the current time in milliseconds, as precise as AWS stores it."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@dataclass
class Context:
    """One account in one region.

    `lock` guards every record. Hold it only to read or write memory, never while waiting for a process, the
    host or a client.
    """

    host: Host
    directory: Path
    announcer: Announcer
    lock: threading.RLock = field(default_factory=threading.RLock)
    tags: TagStore = field(default_factory=TagStore)
    quotas: Quotas = field(default_factory=Quotas)

    def arn(self, kind: str, name: str) -> str:
        """Return a resource's ARN. SageMaker writes names in ARNs in lower case."""
        return f"arn:aws:sagemaker:{self.host.region}:{self.host.account}:{kind}/{name.lower()}"

    def may_pull(self, role_arn: str, image: str) -> bool:
        """Return whether the role may pull an image from its repository in ECR.

        True for the name of an image that is not in ECR: no runner exists for it, whatever the role.
        """
        repository = re.match(r"(\d{12})\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.[a-z.]+/([a-z0-9._/-]+)", image)
        if repository is None:
            return True
        account, region, name = repository.groups()
        arn = f"arn:aws:ecr:{region}:{account}:repository/{name}"
        pulls = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
        wanted = [("ecr:GetAuthorizationToken", "*"), *((action, arn) for action in pulls)]
        return all(self.host.role_may(role_arn, action, resource) for action, resource in wanted)

    def environment_of(self, role_arn: str, session: str) -> dict[str, str]:
        """Return the AWS_* variables of a process that acts as the role.

        Raises:
            ValidationError: SageMaker cannot assume the role.
        """
        try:
            return self.host.role_environment(role_arn, session[:64])
        except LookupError as error:
            raise ValidationError(
                f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
                "'sagemaker.amazonaws.com' to assume the role."
            ) from error
