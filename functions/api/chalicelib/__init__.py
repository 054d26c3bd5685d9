"""What the routes in app.py stand on: the checks on a request, the model behind it, and the errors."""
