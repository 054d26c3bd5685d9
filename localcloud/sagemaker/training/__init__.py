"""Training jobs: their records, checks and operations."""
