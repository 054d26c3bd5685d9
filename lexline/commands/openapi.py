"""`lexline openapi`: print the OpenAPI document of the HTTP API."""

from __future__ import annotations

import json

import typer

from lexline.commands.common import DEFAULT_STACK, Profile, Region, StackName, connect
from lexline.core import api_document


def openapi(profile: Profile = None, stack: StackName = DEFAULT_STACK, region: Region = None) -> None:
    """Print the OpenAPI 3.1 document of the HTTP API, with the URL of the stack's API."""
    servers = [{"url": connect(profile, stack, region).api_url}]
    typer.echo(json.dumps({**api_document.document(), "servers": servers}, ensure_ascii=False, indent=2))
