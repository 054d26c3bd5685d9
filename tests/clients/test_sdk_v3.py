"""Version 3 of the SageMaker SDK: its resource classes, and boto3's waiters in its environment."""

import json
import tarfile
from pathlib import Path

from tests.clients import texts
from tests.clients.conftest import Clients
from tests.stack import PROJECT


def test_resources_are_created_awaited_listed_invoked_and_deleted(clients: Clients, tmp_path: Path) -> None:
    s3, bucket = clients.stack.cloud.client("s3"), clients.stack.bucket
    archive = tmp_path / "sourcedir.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for script in (PROJECT / "model_scripts").glob("*.*"):
            tar.add(script, script.name)
    s3.upload_file(str(archive), bucket, "notebook/resources/sourcedir.tar.gz")
    for file in texts.write(tmp_path / "data").iterdir():
        s3.upload_file(str(file), bucket, f"notebook/resources/data/{file.name}")
    place = f"s3://{bucket}/notebook/resources"
    output = clients.program("sdk_v3_resources.py", f"{place}/sourcedir.tar.gz", f"{place}/data/")
    seen = json.loads(output.splitlines()[-1])
    name = f"{clients.stack.name}---notebook-resources"
    assert seen.pop("text")
    # The caller is asked for at the local STS: it is the administrator, who is a user and has no role.
    assert seen.pop("caller") == f"arn:aws:iam::{clients.stack.cloud.account}:user/lexline"
    listed = {kind: [name] for kind in ("jobs", "endpoints", "models", "configs")}
    assert seen == {"job": "Completed", **listed}
