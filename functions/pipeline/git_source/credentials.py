"""Credentials for a Git server, from a secret in Secrets Manager."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from core.errors import InvalidSource

# GitHub expects this user name with a token. GitLab accepts any name; Bitbucket expects x-token-auth.
DEFAULT_USER = "x-access-token"


@dataclass(frozen=True)
class Credentials:
    """A user name, a password or token, and the name of their secret, which error messages may show."""

    username: str = field(repr=False)
    password: str = field(repr=False)
    secret: str

    @classmethod
    def parse(cls, text: str, secret: str, server: str) -> Credentials:
        """Return the credentials in the string of a secret, which names the server that may receive them.

        Otherwise a person who may start an execution could send any secret of the stack to a server of their
        own. Raises InvalidSource, which never quotes the secret.
        """
        try:
            parsed: Any = json.loads(text)
        except ValueError:
            parsed = None
        fields: dict[str, Any] = parsed if isinstance(parsed, dict) else {}
        username = fields.get("username", DEFAULT_USER if "token" in fields else "")
        host, password = fields.get("host", ""), fields.get("token", fields.get("password", ""))
        values = (host, username, password)
        lines = all(isinstance(value, str) and value and value.isprintable() for value in values)
        both = {"token", "password"} <= fields.keys()
        # RFC 7617: a colon ends the user name. A token has no spaces.
        if not lines or both or ":" in username or " " in fields.get("token", ""):
            raise InvalidSource(
                f"Secret {secret} does not hold credentials for a Git server. Store JSON in it: "
                f'{{"host": "{server}", "token": "..."}}, also with a "username", or {{"host": "{server}", '
                '"username": "...", "password": "..."}. Every value is one line of text, and a user name has '
                "no colon."
            )
        if host.lower() != server:
            raise InvalidSource(
                f"source.secret: secret {secret} is for another server than {server} in source.repo. Name a "
                f'secret with "host": "{server}".'
            )
        return cls(username, password, secret)

    def redact(self, text: str) -> str:
        """Return `text` with *** in place of the password as it is sent, as in URLs and as Dulwich quotes."""
        pair = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        for form in (pair, self.password, quote(self.password, safe=""), repr(self.password.encode())[2:-1]):
            text = text.replace(form, "***")
        return text
