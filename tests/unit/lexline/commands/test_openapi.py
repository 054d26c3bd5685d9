import json

import pytest

from lexline.core import api_document
from tests.unit.lexline.conftest import run_lexline


@pytest.mark.usefixtures("deployed")
def test_the_document_has_the_url_of_the_stacks_api() -> None:
    printed = json.loads(run_lexline("openapi").output)
    assert printed["openapi"] == "3.1.0"
    assert printed["servers"][0]["url"].startswith("http")
    assert {**printed, "servers": []} == {**api_document.document(), "servers": []}
