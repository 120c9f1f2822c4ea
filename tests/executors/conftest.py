"""What runs of the executors' tests are of, and what they give undisturbed."""

import pytest

import faulty
import pictures
import tiny_runs as runs


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return pictures.image_folder(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    """What a run gives that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole")
    runs.finish(faulty.recipe(), out, data=images)
    return runs.outcome(out)
