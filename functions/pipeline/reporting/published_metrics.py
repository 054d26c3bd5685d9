"""The metrics that a run publishes to CloudWatch: its outcome, and its training's time and quality."""

import math

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from contracts.report import Report
from core.logging import metrics


def publish(report: Report) -> None:
    """Count the run by its status, and publish its training's numbers with the dataset as a dimension."""
    metrics.add_metric(name=f"Runs{report.status}", unit=MetricUnit.Count, value=1)
    job, dataset, training = report.job, report.dataset, report.metrics
    if job is None or dataset is None:
        return
    # Perplexities compare only within a dataset.
    by_dataset = EphemeralMetrics()
    by_dataset.add_dimension(name="dataset", value=dataset.dataset)
    by_dataset.add_metadata(key="correlation_id", value=report.run)
    for name, unit, value in (
        ("TrainingSeconds", MetricUnit.Seconds, job.training_seconds),
        ("BillableSeconds", MetricUnit.Seconds, job.billable_seconds),
        ("TestPerplexity", MetricUnit.NoUnit, training.test_perplexity if training else None),
        ("TestUnknownShare", MetricUnit.NoUnit, training.test_unknown_share if training else None),
        ("WordsPerSecond", MetricUnit.CountPerSecond, training.words_per_second if training else None),
    ):
        # CloudWatch takes no infinity or NaN, which a diverged training reports.
        if value is not None and math.isfinite(value):
            by_dataset.add_metric(name=name, unit=unit, value=value)
    by_dataset.flush_metrics()
