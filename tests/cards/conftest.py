"""Small sets, sets whose makers mean harm, and a browser."""

import shutil

import pytest

import made
from showing import NAMES, TEXT, stored


@pytest.fixture(scope="session")
def toys(tmp_path_factory):
    """Five classes of colour images, drawn from priors."""
    return made.write(tmp_path_factory.mktemp("cards") / "toys", "residual", draws_per_class=30)


@pytest.fixture(scope="session")
def pixels(tmp_path_factory):
    """The same classes, where images are stored."""
    return made.write(tmp_path_factory.mktemp("cards") / "toys", **stored())


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """A set in which all that its maker wrote means harm."""
    method = made.ABOUT.method.model_copy(update={"name": TEXT, "reference": TEXT})
    words = dict.fromkeys(("task", "license", "source", "device"), TEXT) | {
        "versions": {TEXT: TEXT}
    }
    provenance = made.ABOUT.provenance.model_copy(update=words)
    about = made.ABOUT.model_copy(update={"method": method, "provenance": provenance})
    folder = tmp_path_factory.mktemp("cards") / "hostile"
    return made.write(folder, classes=NAMES, about=about, draws_per_class=30)


@pytest.fixture(scope="session")
def chromium():
    """A browser without a window."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"none of {', '.join(names)} is on this machine's path")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
