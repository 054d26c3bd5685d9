"""The endpoint: its state in SageMaker, its tags and its automatic scaling."""
