"""What belongs to a run in AWS, and how it is deleted."""
