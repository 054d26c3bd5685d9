"""Uploaded files: listing them, reading them, and writing the prepared dataset."""
