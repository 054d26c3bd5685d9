"""Print a URL of an object that is signed as before 2014, with version 2 of the signature."""

import os

import boto3
from botocore.config import Config

if __name__ == "__main__":
    client = boto3.client("s3", config=Config(signature_version="s3"))
    place = {"Bucket": os.environ["BUCKET"], "Key": "notebook/cli/presigned.txt"}
    print(client.generate_presigned_url("get_object", Params=place))
