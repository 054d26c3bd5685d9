"""What every other package uses: AWS clients, the environment, errors, names and logging."""
