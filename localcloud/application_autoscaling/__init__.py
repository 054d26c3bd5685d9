"""The local Application Auto Scaling: scalable targets and policies of SageMaker's endpoint variants."""
