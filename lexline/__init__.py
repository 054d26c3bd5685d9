"""The `lexline` command: deploy the pipeline, run it, and look at what it made."""
