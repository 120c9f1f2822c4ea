"""Artifacts that the tests of data sets share; nobody changes them."""

import pytest

import made
from d3data.artifact.artifact import Artifact
from d3data.images.spec import Whitening


@pytest.fixture(scope="session", params=made.SPECS)
def every_kind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    return made.write(tmp_path_factory.mktemp("made") / "toys", request.param)


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return made.write(tmp_path_factory.mktemp("made") / "toys")


@pytest.fixture(scope="session")
def soft(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    parts = made.three_parts(made.GAUSSIAN, labels=5)
    return made.write(tmp_path_factory.mktemp("made") / "soft", parts=parts, labels=made.SOFT)


@pytest.fixture(scope="session")
def whitened(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    whitening = Whitening(method="zca", regularization=0.1, images_sha256="ef" * 32)
    image = made.IMAGE.model_copy(update={"whitening": whitening})
    return made.write(tmp_path_factory.mktemp("made") / "whitened", image=image)
