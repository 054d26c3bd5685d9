"""The `lexline` command."""
