"""Write lexline/openapi.json, the OpenAPI 3.1 document of the HTTP API, from the API's own definitions.

    python scripts/write_openapi.py            # rewrite the document
    python scripts/write_openapi.py --check    # change nothing; exit 1 if it is out of date

The fields of requests and their limits come from request_body.py and completions.py, the routes from the
Chalice app, and the errors from errors.py. `lexline openapi` prints the document with the URL of a stack.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
DOCUMENT = PROJECT / "lexline" / "openapi.json"
sys.path.insert(0, str(PROJECT / "functions" / "api"))
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "lexline-api")

import app  # noqa: E402
from chalicelib import completions, errors, request_body  # noqa: E402
from chalicelib.request_body import Field, Flag, Number, Text, Texts  # noqa: E402

DEFAULTS = {name: request_body.Request.__dataclass_fields__[name].default for name in request_body.FIELDS}
FREE = {"type": "number"}
COUNT = {"type": "integer", "minimum": 0}
STRING = {"type": "string"}
STRINGS = {"type": "array", "items": STRING}
FINISH = {"type": "string", "enum": ["stop", "length"]}


def ref(name: str) -> dict[str, str]:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def record(properties: Mapping[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the schema of an object of a response, whose fields are all present except some."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required}


def schema_of(kind: request_body.Kind) -> dict[str, Any]:
    """Return the schema of the values that a field accepts, without null."""
    match kind:
        case Number():
            least = "exclusiveMinimum" if kind.above_least else "minimum"
            return {"type": "integer" if kind.whole else "number", least: kind.least, "maximum": kind.most}
        case Text():
            # Without NUL characters.
            return {
                "type": "string",
                "minLength": kind.least,
                "maxLength": kind.most,
                "pattern": "^[^\\u0000]*$",
            }
        case Texts():
            one = schema_of(kind.each)
            return {"anyOf": [one, {"type": "array", "items": one, "maxItems": kind.most}]}
        case Flag():
            return {"type": "boolean"}
    raise TypeError(f"{kind} has no schema.")


def request(fields: Mapping[str, Field], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the schema of a request. A field that is null counts as left out, unless it is required."""
    properties: dict[str, Any] = {}
    for name, field in fields.items():
        schema = schema_of(field.kind)
        if name not in required:
            if "anyOf" in schema:
                schema["anyOf"].append({"type": "null"})
            else:
                schema["type"] = [schema["type"], "null"]
        properties[name] = {**schema, "description": field.about}
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"required": [*required]} if required else {}),
    }


def generate_request() -> dict[str, Any]:
    """Return the schema of a request for text, with the fields that need or exclude each other."""
    schema = request(request_body.GENERATE)
    for name in ("temperature", "words"):
        schema["properties"][name]["default"] = DEFAULTS[name]

    def given(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"properties": {name: values}, "required": [name]}

    number = {"type": "integer"}
    schema["not"] = {"allOf": [given("words", number), given("tokens", number)]}
    schema["allOf"] = [
        {"if": given("echo", {"const": True}), "then": given("tokens", number)},
        {
            "if": given("alternatives", {"type": "integer", "minimum": 1}),
            "then": given("return_log_probabilities", {"const": True}),
        },
    ]
    return schema


def completion_request() -> dict[str, Any]:
    """Return the schema of a request for completions."""
    schema = request(completions.FIELDS)
    schema["properties"]["prompt"]["anyOf"][1]["minItems"] = 1
    for name, neutral in completions.UNSUPPORTED.items():
        schema["properties"][name] = {
            "enum": [neutral, None],
            "description": "Not supported. Only the value that changes nothing is accepted.",
        }
    return schema


def schemas() -> dict[str, Any]:
    """Return the schemas of requests and responses."""
    own_error = {"code": STRING, "message": STRING}
    entry = {
        "word": STRING,
        "start": COUNT,
        "end": COUNT,
        "log_probability": {"type": "number", "maximum": 0},
        "known": {"type": "boolean"},
        "alternatives": array(record({"word": STRING, "log_probability": FREE})),
    }
    text = {
        "text": STRING,
        "words": COUNT,
        "tokens": COUNT,
        "seed": COUNT,
        "finish_reason": FINISH,
        "log_probabilities": array(ref("LogProbability")),
    }
    model_entry = {"id": STRING, "object": {"const": "model"}, "created": COUNT, "owned_by": STRING}
    logprobs = {
        "tokens": STRINGS,
        "token_logprobs": array(FREE),
        "top_logprobs": array({"type": "object", "additionalProperties": FREE}),
        "text_offset": array(COUNT),
    }
    choice = {
        "index": COUNT,
        "text": STRING,
        "finish_reason": FINISH,
        "logprobs": {"anyOf": [record(logprobs), {"type": "null"}]},
    }
    usage = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), COUNT)
    return {
        "Generate": generate_request(),
        "Score": request(request_body.SCORE, required=("text",)),
        "CreateCompletion": completion_request(),
        "LogProbability": record(entry, ("alternatives",)),
        "Text": record(text, ("log_probabilities",)),
        "Generated": record(
            {
                **text,
                "model": STRING,
                "unknown_words": STRINGS,
                "prompt_tokens": COUNT,
                "texts": array(ref("Text")),
            },
            # Models of earlier versions lack some of them.
            ("tokens", "finish_reason", "prompt_tokens", "log_probabilities", "texts"),
        ),
        "Scores": record(
            {
                "perplexity": {"type": "number", "minimum": 1},
                "cache_perplexity": {"type": "number", "minimum": 1},
                "cache_log_probability": FREE,
                "bits_per_character": FREE,
                "log_probability": FREE,
                "tokens": COUNT,
                "log_probabilities": array(ref("LogProbability")),
                "unknown_words": STRINGS,
                "model": STRING,
            },
            ("cache_perplexity", "cache_log_probability"),
        ),
        "Completion": record(
            {
                "id": STRING,
                "object": {"const": "text_completion"},
                "created": COUNT,
                "model": STRING,
                "choices": array(record(choice)),
                "usage": record(usage),
            }
        ),
        "Models": record({"object": {"const": "list"}, "data": array(record(model_entry))}),
        "ServedModel": record(
            {
                "endpoint": STRING,
                "status": STRING,
                "model": STRING,
                "dataset": {"type": ["string", "null"]},
                "perplexity": {"type": ["number", "null"]},
                "unknown_share": {"type": ["number", "null"]},
                "since": {"type": "string", "format": "date-time"},
            }
        ),
        "Health": record({"status": {"const": "ok"}}),
        "Error": record(
            {**own_error, "errors": array(record({"field": STRING, "message": STRING}))}, ("errors",)
        ),
        "OpenAIError": record(
            {"error": record({**own_error, "type": STRING, "param": {"type": ["string", "null"]}})}
        ),
    }


SUMMARIES = {
    "/generate": ("generate", "Generate text with the model that serves.", "Generate", "Generated"),
    "/score": ("score", "Say how probable the model finds a text, word by word.", "Score", "Scores"),
    "/v1/completions": (
        "createCompletion",
        "Generate or score text, in the form of OpenAI's API.",
        "CreateCompletion",
        "Completion",
    ),
    "/v1/models": (
        "listModels",
        "Describe the model that serves, in the form of OpenAI's API.",
        "",
        "Models",
    ),
    "/model": ("describeModel", "Describe the model that serves.", "", "ServedModel"),
    "/health": ("checkHealth", "Return whether the API works.", "", "Health"),
}
"""For each path its operation's id and summary, and the schemas of the request and the response."""


def content(schema: str) -> dict[str, Any]:
    """Return the content of a JSON body."""
    return {"application/json": {"schema": ref(schema)}}


def operation(path: str) -> dict[str, Any]:
    """Return the operation of a path, with every error that it may return."""
    name, summary, body, response = SUMMARIES[path]
    error = "OpenAIError" if path.startswith("/v1/") else "Error"
    own = {kind.status for kind in errors.ApiError.__subclasses__()} - (
        {400, 413, 424} if not body else set()
    )
    statuses = sorted({405, 415, 500} | (own if path != "/health" else set()))
    # API Gateway returns these by itself. They have the API's own form on every path.
    responses: dict[str, Any] = {
        "403": {"description": "The key or the signature is missing or wrong.", "content": content("Error")},
        "504": {"description": "There was no response within 29 seconds.", "content": content("Error")},
    }
    for status in statuses:
        either = {"application/json": {"schema": {"anyOf": [ref(error), ref("Error")]}}}
        responses[str(status)] = {
            "description": "See docs/api.md.",
            "content": either if error != "Error" else content(error),
        }
    return {
        "operationId": name,
        "summary": summary,
        **({"requestBody": {"content": content(body), "required": body == "Score"}} if body else {}),
        "responses": {
            "200": {"description": "Success.", "content": content(response)},
            **dict(sorted(responses.items())),
        },
    }


def document() -> dict[str, Any]:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lexline",
            "summary": "Text from a word-level language model, and scores of texts.",
            "description": "docs/api.md explains fields, errors and limits.",
            "version": "1",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [
            {"url": "{api_url}", "variables": {"api_url": {"default": "https://localhost/v1"}}},
        ],
        "security": [{"key": []}, {"signature": []}],
        "paths": {
            path: {method.lower(): operation(path) for method in methods if method != "HEAD"}
            for path, methods in app.app.routes.items()
        },
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4, if the stack has ApiAuthorization=AWS_IAM.",
                },
            },
            "schemas": schemas(),
        },
    }


def text() -> str:
    """Return the document as JSON."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the document, or compare it with the file; return the exit code."""
    parser = argparse.ArgumentParser(description="Write the OpenAPI document of the HTTP API.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it is out of date")
    if not parser.parse_args().check:
        DOCUMENT.write_text(text(), encoding="utf-8")
    elif not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != text():
        print("lexline/openapi.json is out of date: run `make generate`.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
