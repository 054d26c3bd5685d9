"""Credentials for a Git server, from a secret in Secrets Manager."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
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
    def parse(cls, text: str, secret: str) -> Credentials:
        """Return the credentials in the string of a secret. Raises InvalidSource, which never quotes it."""
        try:
            fields = json.loads(text) if text.lstrip().startswith("{") else {"token": text.strip()}
        except ValueError:
            fields = {}
        username = fields.get("username", DEFAULT_USER if "token" in fields else "")
        password = fields.get("token", fields.get("password", ""))
        lines = all(isinstance(part, str) and part and part.isprintable() for part in (username, password))
        both = {"token", "password"} <= fields.keys()
        # RFC 7617: a colon ends the user name. A token has no spaces.
        if not lines or both or ":" in username or " " in fields.get("token", ""):
            raise InvalidSource(
                f"Secret {secret} does not hold credentials for a Git server. Store one of these in it: the "
                'token alone, {"token": "..."}, {"username": "...", "token": "..."} or {"username": "...", '
                '"password": "..."}. Every value is one line of text, and a user name has no colon.'
            )
        return cls(username, password, secret)

    def redact(self, text: str) -> str:
        """Return `text` with *** in place of the password as it is sent, as in URLs and as Dulwich quotes."""
        pair = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        for form in (pair, self.password, quote(self.password, safe=""), repr(self.password.encode())[2:-1]):
            text = text.replace(form, "***")
        return text
