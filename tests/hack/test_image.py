"""The lab's image is what the Containerfile makes, as far as a pod can tell."""

import json
import re
from pathlib import Path

from lab.kubernetes import image

CONTAINERFILE = (Path(__file__).parents[2] / "manifests" / "image" / "Containerfile").read_text()


def last(instruction: str) -> str:
    """The argument of the last such instruction, which is the image's."""
    return re.findall(rf"^{instruction} (.*)$", CONTAINERFILE, re.MULTILINE)[-1]


def test_the_labs_image_and_the_containerfile_run_the_same_program_as_the_same_user():
    assert json.loads(last("ENTRYPOINT")) == image.CONFIG["Entrypoint"]
    assert last("USER") == image.CONFIG["User"]
    assert last("WORKDIR") == image.CONFIG["WorkingDir"]
    environment = dict(each.split("=", 1) for each in last("ENV").split())
    assert environment == dict(each.split("=", 1) for each in image.CONFIG["Env"])
