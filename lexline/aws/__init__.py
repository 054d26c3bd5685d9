"""Calls to AWS or the local cloud. Nothing in this package prints."""
