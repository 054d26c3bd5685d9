"""The parts of the HTTP API: validation of requests, the endpoint, and errors."""
