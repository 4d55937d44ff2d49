"""A bare script that restarts the service with boto3: what the way from the click to the effect is compared with.

It is warm, as the bot is: the client is made and has answered once. Each line on standard input is one restart.
"""

from __future__ import annotations

import os
import sys

import boto3

KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "example"}


def main() -> None:
    """Describe and update once per line, and print a line after each."""
    ecs = boto3.client("ecs", region_name="us-west-2", endpoint_url=os.environ["AWS_ENDPOINT"], **KEYS)
    ecs.describe_services(cluster="shielda", services=["control-plane"])
    print("warm", flush=True)
    for _ in sys.stdin:
        ecs.describe_services(cluster="shielda", services=["control-plane"])
        ecs.update_service(cluster="shielda", service="control-plane", forceNewDeployment=True)
        print("done", flush=True)


if __name__ == "__main__":
    main()
