"""ECR, as far as a rollback needs it: does the image of an earlier revision still exist?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rehearsal.aws.ecs.service import Ecs
from rehearsal.aws.ecs.tasks import Revision
from rehearsal.aws.ecs.views import digest_of
from rehearsal.aws.front import AwsError, Handler
from rehearsal.aws.sts import ACCOUNT


def ecr_handlers(services: Iterable[Ecs]) -> dict[str, Handler]:
    """For `Front.add("ecr", ...)`: whether the image of a revision still exists."""
    by_region = {one.region: one for one in services}

    def describe_images(region: str, params: dict[str, Any]) -> dict[str, Any]:
        known = by_region[region].revisions.values() if region in by_region else ()
        name = params["repositoryName"]
        images = {one.image.partition(":")[2]: one for one in known if one.image.partition(":")[0] == name}
        if not images:
            raise AwsError("RepositoryNotFoundException", f"The repository with name '{name}' does not exist.")
        asked = params.get("imageIds") or [{"imageTag": tag} for tag, one in images.items() if one.kept]
        return {"imageDetails": [_image(name, images, wanted) for wanted in asked]}

    return {"DescribeImages": describe_images}


def _image(repository: str, images: dict[str, Revision], wanted: dict[str, str]) -> dict[str, Any]:
    for tag, revision in images.items():
        if revision.kept and (wanted.get("imageTag", tag), wanted.get("imageDigest", digest_of(revision))) == (
            tag,
            digest_of(revision),
        ):
            return {
                "registryId": ACCOUNT,
                "repositoryName": repository,
                "imageDigest": digest_of(revision),
                "imageTags": [tag],
                "imagePushedAt": revision.registered_at,
            }
    raise AwsError("ImageNotFoundException", f"The image with imageId {wanted} does not exist in '{repository}'.")
