"""One machine as AWS: MiniStack plus a SageMaker service that really runs jobs and endpoints."""
