"""The documents that cross a step, typed: what each step receives and returns."""
