"""The training job: its request, its result and its output."""
