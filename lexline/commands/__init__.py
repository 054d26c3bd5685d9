"""The subcommands, one module each: options, help texts, and calls of the packages that do the work."""
