"""Metadata that still has keys of KEDA's own Redis scalers."""

import pytest

from listeners.errors import ConfigurationError
from scaler.triggers.metadata import read_metadata


def test_half_migrated_metadata() -> None:
    """All keys of KEDA's own scaler are reported at once as they were written, each with ours."""
    metadata = {
        "type": "RedisListTrigger",
        "listName": "q",
        "listLength": "5",
        "databaseIndex": "0",
        "passwordFromEnv": "hunter2",
        "maxInstances": "0",
        "batchSizeFromEnv": "0",
    }
    with pytest.raises(ConfigurationError) as caught:
        read_metadata(metadata)
    found = {one.field: one.fix for one in (caught.value, *caught.value.others)}
    assert set(found) == {*metadata} - {"type"}
    for key, ours in {"listName": "keys", "listLength": "messagesPerWorker", "passwordFromEnv": "connection"}.items():
        assert f"Did you mean {ours}?" in found[key]
        assert f"{key}: " in str(caught.value)
    assert "hunter2" not in str(caught.value)
