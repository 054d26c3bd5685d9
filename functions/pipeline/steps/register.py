"""The step that registers the trained model, accepted or not, with what it is made of and how good it is."""

from __future__ import annotations

from contracts.registry import Registered, RegisterInput
from core import environment
from entry_point import step
from registry import identity, model_packages


@step(RegisterInput)
def handler(given: RegisterInput) -> Registered:
    run, evaluated, trained = given.run, given.evaluated, given.trained
    comparison, metrics = evaluated.comparison, evaluated.metrics
    fingerprint, code = given.prepared.fingerprint, given.source.sha256
    figures = {
        "test_perplexity": metrics.test_perplexity,
        "valid_perplexity": metrics.valid_perplexity,
        "train_perplexity": metrics.train_perplexity,
        "vocabulary_size": metrics.vocabulary_size,
        "champion_perplexity": comparison.champion_perplexity if comparison else None,
        "challenger_perplexity": comparison.challenger_perplexity if comparison else None,
    }
    metadata = {
        "run": run.name,
        "dataset": str(run.dataset),
        "fingerprint": fingerprint,
        "code": code,
        "identity": identity.of(run.hyperparameters, fingerprint, code),
        "commit": given.source.commit or "",
        "champion": comparison.champion if comparison else "",
        **{name: "" if value is None else str(value) for name, value in figures.items()},
        **{
            f"hyperparameters.{name}": "auto" if value is None else str(value)
            for name, value in run.hyperparameters
        },
    }
    arn = model_packages.register(
        run.endpoint,
        run.name,
        model_packages.described(evaluated.reason),
        metadata,
        {
            "InferenceSpecification": {
                "Containers": [
                    {
                        "Image": environment.hosting_image(run.hosting),
                        "ModelDataUrl": trained.model_artifacts,
                    }
                ],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            "ModelApprovalStatus": "Approved" if evaluated.accepted else "Rejected",
            "MetadataProperties": {
                "GeneratedBy": run.execution.id,
                **({"CommitId": given.source.commit} if given.source.commit else {}),
                **({"Repository": given.source.repo} if given.source.repo else {}),
            },
        },
    )
    return model_packages.read(arn)
