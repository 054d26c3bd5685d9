"""The processes behind training jobs and endpoints."""
