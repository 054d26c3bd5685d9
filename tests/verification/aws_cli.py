"""A stand-in for the AWS CLI, which cannot be installed beside our release of botocore.

    python aws_cli.py SERVICE OPERATION [--MEMBER VALUE]... [--query EXPRESSION] [--output text]
    python aws_cli.py s3 mb s3://BUCKET
    python aws_cli.py s3 cp FILE s3://BUCKET/KEY
    python aws_cli.py s3 sync s3://BUCKET/PREFIX FOLDER

Like the CLI, it derives the services, the operations and their options from botocore's models. If the
environment variable CHECK_ONLY is set, it checks the arguments and calls nothing. Exit codes: 0 success, 2
the arguments are invalid, any other: the call failed.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import botocore.session
import jmespath
from botocore import xform_name
from botocore.validate import ParamValidator

_RENAMED = {"endpoint": "notification-endpoint"}
"""The options that the CLI names differently, because it has options of these names for all operations."""


def main(service: str, operation: str, *words: str) -> None:
    """Call an operation, and print its response."""
    if service == "s3":
        _s3(operation, words)
        return
    session = botocore.session.get_session()
    model = session.get_service_model(service)
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    parser = argparse.ArgumentParser(prog=f"aws {service}", allow_abbrev=False)
    parser.add_argument("operation", choices=operations)
    shape = model.operation_model(operations[parser.parse_known_args([operation])[0].operation]).input_shape
    for member in shape.members if shape else ():
        option = xform_name(member, "-")
        parser.add_argument(f"--{_RENAMED.get(option, option)}", dest=member)
    parser.add_argument("--query", type=jmespath.compile)
    parser.add_argument("--output", choices=["json", "text"])
    given = vars(parser.parse_args([operation, *words]))
    query, output = given.pop("query"), given.pop("output")
    name = xform_name(operations[given.pop("operation")])
    values = {
        member: _value(shape.members[member].type_name, text)
        for member, text in given.items()
        if text is not None
    }
    problems = ParamValidator().validate(values, shape).generate_report() if shape else ""
    if problems:
        parser.error(problems)
    if "CHECK_ONLY" in os.environ:
        return
    response = getattr(session.create_client(service), name)(**values)
    del response["ResponseMetadata"]
    found = query.search(response) if query else response
    print(found if output == "text" else json.dumps(found, default=str, indent=2))


def _value(kind: str, text: str) -> Any:
    """Return the value of an option: JSON, unless the operation takes a string there."""
    if text.startswith("file://"):
        text = Path(text.removeprefix("file://")).read_text(encoding="utf-8")
    return text if kind == "string" else json.loads(text)


def _s3(command: str, words: tuple[str, ...]) -> None:
    source, target = words if command != "mb" else (*words, "")
    uri, path = (target, source) if command == "cp" else (source, target)
    assert command in ("mb", "cp", "sync"), command
    assert uri.startswith("s3://"), uri
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if "CHECK_ONLY" in os.environ:
        return
    client = botocore.session.get_session().create_client("s3")
    if command == "mb":
        client.create_bucket(Bucket=bucket)
        return
    if command == "cp":
        file = Path(path)
        client.put_object(
            Bucket=bucket, Key=key + file.name if uri.endswith("/") else key, Body=file.read_bytes()
        )
        return
    for item in client.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]:
        file = Path(path, item["Key"].removeprefix(key))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())


if __name__ == "__main__":
    main(*sys.argv[1:])
