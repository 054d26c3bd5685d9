"""Register: record the trained model in the registry, with its verdict, its origin and its metrics."""

from contracts.registry import Registered, RegisterInput
from core import environment
from entry_point import step
from registry import identity, model_packages


@step(RegisterInput)
def handler(given: RegisterInput) -> Registered:
    """Create a model package version, or find the one that an earlier attempt created."""
    run, evaluated, source = given.run, given.evaluated, given.source
    arn = model_packages.register(
        run.endpoint,
        run.name,
        model_packages.one_line(evaluated.reason),
        _metadata(given),
        {
            "InferenceSpecification": {
                "Containers": [
                    {
                        "Image": environment.hosting_image(run.hosting),
                        "ModelDataUrl": given.trained.model_artifacts,
                    }
                ],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            "ModelApprovalStatus": "Approved" if evaluated.accepted else "Rejected",
            "MetadataProperties": {
                "GeneratedBy": run.execution.id,
                **({"CommitId": source.commit} if source.commit else {}),
                **({"Repository": source.repo} if source.repo else {}),
            },
        },
    )
    return model_packages.read(arn)


def _metadata(given: RegisterInput) -> dict[str, str]:
    """Return what the model was made of and how good it is, as text by name."""
    run, evaluated = given.run, given.evaluated
    comparison = evaluated.comparison
    fingerprint, code = given.prepared.fingerprint, given.source.sha256
    numbers = {
        **evaluated.metrics.model_dump(exclude={"words_per_second"}),
        "champion_perplexity": comparison.champion_perplexity if comparison else None,
        "challenger_perplexity": comparison.challenger_perplexity if comparison else None,
    }
    return {
        "run": run.name,
        "dataset": str(run.dataset),
        "fingerprint": fingerprint,
        "code": code,
        "identity": identity.of(run.hyperparameters, fingerprint, code),
        "commit": given.source.commit or "",
        "champion": comparison.champion if comparison else "",
        **{name: "" if value is None else str(value) for name, value in numbers.items()},
        **{
            f"hyperparameters.{name}": "auto" if value is None else str(value)
            for name, value in run.hyperparameters
        },
    }
