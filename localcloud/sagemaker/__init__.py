"""The local SageMaker: control plane, training jobs, endpoints."""
