"""The wire: AWS's JSON protocol, request validation, authorization, listing and errors."""
