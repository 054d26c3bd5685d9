"""The local SageMaker: control plane, training jobs, endpoints and the model registry."""
