"""What every service's folder uses: the types of requests and responses, options and credentials."""
