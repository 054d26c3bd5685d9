"""The tests: a package by its own name, because a library installs one called `tests` too."""
