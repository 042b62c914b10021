"""What the scaler and the apps get of the connections."""

from typing import Any

import pytest
import yaml

from listeners.connections.options import HONOURED, TUNING
from tests.charts.rendering import Rendered, chart_values, merged, render, render_ci

SCALER = "triggerfish-scaler"
PASSWORDS = "/etc/triggerfish/passwords"
MAIN = {"address": "main.example:6379", "passwordSecret": "main-password", "key": "secret"}
CACHE = {"address": "cache.example:6380,ssl=True,user=shop", "passwordSecret": "cache-password"}
BOTH = {"connection": MAIN, "connections": {"cache": CACHE, "other": {"secretName": "other-redis"}}}
MAIN_PASSWORD = {"secret": {"name": "main-password", "items": [{"key": "secret", "path": "_default"}]}}
CACHE_PASSWORD = {"secret": {"name": "cache-password", "items": [{"key": "password", "path": "cache"}]}}


def settings(rendered: Rendered, name: str) -> dict[str, Any]:
    """Return the settings of the scaler or an app."""
    found: dict[str, Any] = yaml.safe_load(rendered.one("ConfigMap", name)["data"]["config.yaml"])
    return found


def mounted(rendered: Rendered, name: str) -> dict[str, Any]:
    """Return the sources of the projected volumes of the scaler or an app, which its container mounts."""
    pod = rendered.one("Deployment", name)["spec"]["template"]["spec"]
    projected = {volume["name"]: volume["projected"]["sources"] for volume in pod["volumes"] if "projected" in volume}
    assert projected.keys() <= {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    return projected


def variables(rendered: Rendered, name: str) -> set[str]:
    """Return the names of the environment variables of the scaler or an app."""
    [container] = rendered.one("Deployment", name)["spec"]["template"]["spec"]["containers"]
    return {variable["name"] for variable in container["env"]}


def test_an_app_gets_only_the_connections_that_it_uses() -> None:
    """The scaler mounts all connections; an app mounts those of its triggers."""
    rendered = render_ci("mixed")

    def files(name: str) -> set[str]:
        [connections] = mounted(rendered, name).values()
        return {item["path"] for source in connections for item in source["secret"]["items"]}

    assert (files(SCALER), files("shop"), files("reports"), files("audit")) == (
        {"cache", "events"}, {"cache", "events"}, {"cache"}, {"events"}
    )  # fmt: skip


def test_a_secret_that_holds_only_a_password() -> None:
    """The address is in the settings, and the password a mounted file, in the scaler and in the app that uses it."""
    rendered = render({**chart_values("one-app"), **BOTH})
    cache = {"connection_string": CACHE["address"], "password_file": f"{PASSWORDS}/cache"}
    for name in (SCALER, "shop"):
        assert settings(rendered, name)["connections"] == {"cache": cache}
        assert "TRIGGERFISH_CONNECTION" not in variables(rendered, name)
    scaler, app = mounted(rendered, SCALER), mounted(rendered, "shop")
    assert set(scaler) == {"connections", "passwords"}
    assert scaler["passwords"] == [MAIN_PASSWORD, CACHE_PASSWORD]
    assert app == {"passwords": [CACHE_PASSWORD]}


def test_a_default_secret_that_holds_only_a_password() -> None:
    """An app with a trigger that names no connection gets it; a Valkey for trials does not replace it."""
    triggers = {"pay": {"type": "RedisListTrigger", "keys": "payments"}}
    trial = {"valkey": {"enabled": True, "connections": ["trial"]}}
    rendered = render({**merged(chart_values("one-app"), {"apps": {"shop": {"triggers": triggers}}}), **BOTH, **trial})
    main = {"connection_string": MAIN["address"], "password_file": f"{PASSWORDS}/_default"}
    for name in (SCALER, "shop"):
        assert settings(rendered, name)["connection"] == main
        assert settings(rendered, name)["connections"].keys() == {"cache", "trial"}
        assert mounted(rendered, name)["passwords"] == [MAIN_PASSWORD, CACHE_PASSWORD]
        assert "TRIGGERFISH_CONNECTION" not in variables(rendered, name)


@pytest.mark.parametrize(
    "address",
    [
        "cache.example:6380,ssl=True,user=shop",
        "a:1, b:2,serviceName=main",
        "cache,ssl=True",
        "[::1]:7000",
        "10.0.0.1",
        "shop.redis.cache.windows.net",
        "rediss://cache.example:6380/2",
        "valkey://cache",
        *(f"cache:1,{option}=1" for option in (HONOURED | TUNING).values() if "assword" not in option),
    ],
)
def test_addresses(address: str) -> None:
    """Every form of address without a password is accepted, with every option."""
    render(merged(chart_values("one-app"), {"connections": {"other": {**CACHE, "address": address}}}))
