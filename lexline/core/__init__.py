"""Code that all parts of the command use: errors, and paths on this machine."""
