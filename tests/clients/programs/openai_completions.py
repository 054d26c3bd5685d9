"""Use the API with OpenAI's own client, as docs/api.md says, and print what it returned as JSON.

python openai_completions.py BASE_URL KEY
"""

import json
import sys
from typing import Any

import openai

base_url, key = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key=key, default_headers={"x-api-key": key}, max_retries=0)
results: dict[str, Any] = {}


def attempt(name: str, **fields: Any) -> None:
    """Keep a completion, or the class, status and body of the error."""
    try:
        results[name] = client.completions.create(**fields).model_dump()
    except openai.APIStatusError as error:
        results[name] = [type(error).__name__, error.status_code, error.code, error.param, error.message]


try:
    results["models"] = [model.id for model in client.models.list()]
except openai.APIStatusError as error:
    results["models"] = [type(error).__name__, error.status_code, error.code]
anna: dict[str, Any] = {"model": "lexline", "prompt": "When it rains, Anna", "seed": 7}
attempt("plain", **anna, max_tokens=12, temperature=0.8, top_p=0.9, user="me")
attempt("several", **{**anna, "prompt": ["Anna", "Our king"]}, n=2, max_tokens=5)
attempt("stopped", **anna, max_tokens=300, stop=["a"])
attempt("extra", **anna, extra_body={"top_k": 5, "min_p": 0.01, "repetition_penalty": 1.2})
attempt("scored", **anna, max_tokens=0, echo=True, logprobs=2)
attempt("unsupported", **anna, presence_penalty=0.5)
attempt("streamed", **anna, stream=True)
attempt("unknown_model", **{**anna, "model": "gpt-3.5-turbo-instruct"})
attempt("unknown_words", **{**anna, "prompt": "Zyxgrv"})
print(json.dumps(results))
