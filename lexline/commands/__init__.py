"""The subcommands, by what they are about.

Each reads its options, calls the modules that do the work, and prints.
"""
