"""Create the named buckets, unless they exist: `python infra/buckets.py clips dvc mlflow`.

Server and credentials come from AWS_ENDPOINT_URL and the other AWS_ variables.
"""

import sys

import boto3


def main(names: list[str]) -> None:
    """Create the buckets `names` that do not exist."""
    s3 = boto3.client("s3")
    there = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for name in names:
        if name not in there:
            s3.create_bucket(Bucket=name)


if __name__ == "__main__":
    main(sys.argv[1:])
