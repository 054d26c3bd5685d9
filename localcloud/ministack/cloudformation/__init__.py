"""CloudFormation: conditions, custom resources, the deletion of stacks, and schedules of stacks as on AWS.

conditions        the functions that compose the texts in a condition
custom_resources  the requests to a custom resource's function, and its responses
schedules         every property of AWS::Scheduler resources
stack_deletion    a resource is not deleted before its dependents
"""

from localcloud.ministack.cloudformation import conditions, custom_resources, schedules, stack_deletion


def patch() -> None:
    """Apply every patch of this folder to MiniStack."""
    conditions.patch()
    custom_resources.patch()
    schedules.patch()
    stack_deletion.patch()
