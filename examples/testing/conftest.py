# conftest.py
import pytest
from shop import app

from triggerfish import App

pytest_plugins = ["triggerfish.testing.pytest"]


@pytest.fixture
def app_to_run() -> App:
    return app
