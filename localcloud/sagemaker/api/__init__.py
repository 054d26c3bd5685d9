"""The wire: AWS's JSON protocol, request validation, authorization and listing."""
