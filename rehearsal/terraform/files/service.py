"""What the stack does to AWS: the service exists with its desired count. Run by terraform's local-exec."""

import os
import sys
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

FAILS = Path(__file__).with_name("fails")


def main() -> int:
    """Create the service, or give an existing one its count; the exit code says whether it worked."""
    if FAILS.exists():
        sys.stderr.write("CannotPullContainerError: the image registry of the second region does not answer.\n")
        return 1
    wanted = os.environ
    config = Config(connect_timeout=2, read_timeout=10, user_agent_extra="terraform")
    keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "example"}
    ecs = boto3.client("ecs", region_name=wanted["AWS_REGION"], endpoint_url=wanted["AWS_ENDPOINT"], config=config, **keys)
    service = {"taskDefinition": wanted["TASK_DEFINITION"], "desiredCount": int(wanted["DESIRED_COUNT"])}
    try:
        ecs.create_service(cluster=wanted["CLUSTER"], serviceName=wanted["SERVICE"], clientToken=wanted["TOKEN"][:36], **service)
    except ClientError as error:
        if "not idempotent" not in str(error):
            sys.stderr.write(f"{error}\n")
            return 1
        ecs.update_service(cluster=wanted["CLUSTER"], service=wanted["SERVICE"], **service)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
