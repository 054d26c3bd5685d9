"""What belongs to a run in AWS, and how it is deleted.

CloudFormation knows the stack. It does not know what the runs create:

| resource | name | deleted by |
| --- | --- | --- |
| training job | the run's name | nobody: SageMaker keeps it, stopped |
| model, endpoint config | the run's name | Finish (the second to last), Teardown, Compensate, the sweep |
| endpoint | the stack's name, or `EndpointName` | Teardown; Compensate if none served before |
| one-time schedule for the teardown | the run's name | EventBridge Scheduler, after its execution started |
| scalable target | the endpoint's variant | SageMaker, with the endpoint |
| model package | a version in the group named after the endpoint | nobody: the registry keeps every model |
| text under `prepared/`, half-made | the dataset's and the run's name | Compensate |
| objects under `prepared/`, `code/`, `runs/`, `checkpoints/`, `reports/` | - | the bucket's lifecycle rules |

Deleting the stack deletes all of it except the uploads. Only what has the stack's tag is deleted, whatever
its name (`core.ownership`).

`resources` lists and deletes; `objects` deletes objects with all their versions; `prepared_text` deletes what
an interrupted preparation left; `rollback` puts the former model back on the endpoint; `orphans` tells which
resources no run needs; `idle` and `schedules` decide when an endpoint's time has come; `stack` deletes
everything.
"""
