"""What a Git server is told of who asks: a user name and a password, or a token in its place.

They come out of a secret and go into a request header. Nothing that prints them prints the password.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from urllib.parse import quote

from core.errors import InvalidSource

# GitHub's name for who has but a token. GitLab takes any name for one; Bitbucket insists on x-token-auth.
TOKENS_OWNER = "x-access-token"

_FORMS = (
    'the token alone, {"token": "..."}, {"username": "...", "token": "..."} or '
    '{"username": "...", "password": "..."}'
)


@dataclass(frozen=True, repr=False)
class Credentials:
    """`secret` is the name of the secret they came from, which errors may tell."""

    username: str
    password: str
    secret: str

    def __repr__(self) -> str:
        return f"Credentials(secret={self.secret!r})"

    @classmethod
    def parse(cls, text: str, secret: str) -> Credentials:
        """From the string of the secret named `secret`, in one of the forms that _FORMS lists.

        Raises InvalidSource, without a word of what is in the secret.
        """
        text = text.strip()
        if not text.startswith("{"):
            return cls._checked(TOKENS_OWNER, "" if " " in text else text, secret)
        try:
            given = json.loads(text)
        except ValueError:
            # Not as the cause: json's error carries the text it was given.
            given = None
        if given is None:
            raise InvalidSource(f"Secret {secret} starts like JSON and does not parse. Store {_FORMS} in it.")
        if ("token" in given) == ("password" in given) or ("password" in given and "username" not in given):
            raise InvalidSource(f"Secret {secret} has other fields than are read. Store {_FORMS} in it.")
        return cls._checked(
            given.get("username", TOKENS_OWNER), given.get("token", given.get("password")), secret
        )

    @classmethod
    def _checked(cls, username: object, password: object, secret: str) -> Credentials:
        for name, value in (("user name", username), ("token or password", password)):
            if not isinstance(value, str) or not value or not value.isprintable():
                raise InvalidSource(
                    f"Secret {secret} has no {name}, or one that is not a line of text. Store {_FORMS} in it."
                )
        # RFC 7617: the first colon ends the user name.
        if ":" in str(username):
            raise InvalidSource(f"Secret {secret} has a user name with a colon, which cannot be sent.")
        return cls(str(username), str(password), secret)

    def header(self) -> str:
        """The value of an Authorization header (RFC 7617, in UTF-8)."""
        return f"Basic {self._encoded()}"

    def scrubbed(self, text: str) -> str:
        """`text` with *** in the place of the password, in every form that it is sent in."""
        for form in (self._encoded(), self.password, quote(self.password, safe="")):
            text = text.replace(form, "***")
        return text

    def _encoded(self) -> str:
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
