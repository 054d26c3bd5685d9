"""The `lexline` command: bring up, run, generate, status, logs, down."""
