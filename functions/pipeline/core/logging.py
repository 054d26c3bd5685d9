"""The structured logger, the tracer and the CloudWatch metrics that every function shares."""

from aws_lambda_powertools import Logger, Metrics, Tracer

logger = Logger()
tracer = Tracer()
metrics = Metrics()
