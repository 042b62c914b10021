"""Where `triggerfish explain` has its triggers from: an app, a ScaledObject's metadata, or a scaler that runs."""

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from pydantic import BaseModel, ValidationError
from yarl import URL

from listeners.errors import ConfigurationError, SourceError
from listeners.functions.app import App
from scaler.access.access import Access
from scaler.evaluation.evaluator import Evaluator
from scaler.measuring.sampler import Samplers
from scaler.monitoring.status import TriggerStatus, trigger_status
from scaler.settings import Settings
from scaler.triggers.metadata import ScaledTrigger, read_metadata
from scaler.triggers.owner import Owner

__all__ = ["Explanation", "explain_app", "explain_metadata", "explain_scaler"]

#: A scaler that knows ten thousand triggers lists them within a second or two.
ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Explanation:
    """What is known of some triggers, and a line for each that is not known or could not be asked about."""

    triggers: list[TriggerStatus]
    problems: list[str]


class _Listed(BaseModel):
    triggers: list[TriggerStatus]


async def explain_app(app: App, settings: Settings) -> Explanation:
    """Measure the triggers of an app. Raises ConfigurationError."""
    from scaler.triggers.app_triggers import app_triggers  # noqa: PLC0415

    return await _measured(app_triggers(app, None), settings)


async def explain_metadata(metadata: Mapping[str, str], settings: Settings) -> Explanation:
    """Measure the trigger of a ScaledObject's metadata. Raises ConfigurationError."""
    scaled = read_metadata(metadata, settings.scaler.ignored_metadata)
    return await _measured({Owner("", scaled.function or scaled.metric_name, declared=True): scaled}, settings)


async def explain_scaler(address: str) -> Explanation:
    """What a scaler says at its HTTP address. Raises ConfigurationError for an address that is none."""
    try:
        url = URL(address)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError("--scaler", None, "Give its HTTP address, such as http://localhost:8080.")
    shown = url.with_user(None)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_SECONDS)) as session,
            session.get(url / "api/v1/triggers") as response,
        ):
            response.raise_for_status()
            triggers = _Listed.model_validate_json(await response.read()).triggers
    except aiohttp.ClientResponseError as error:
        return Explanation([], [f"{shown} answers with status {error.status}: is it the scaler's HTTP port (8080)?"])
    except ValidationError:
        return Explanation([], [f"{shown} answers with something else: is it the scaler's HTTP port (8080)?"])
    except TimeoutError:
        return Explanation([], [f"{shown} did not answer within {ANSWER_SECONDS:g} s"])
    except (aiohttp.ClientError, OSError) as error:
        return Explanation([], [f"{shown} cannot be asked: {error}"])
    return Explanation(triggers, [_problem(one) for one in triggers if not one.known])


async def _measured(triggers: Mapping[Owner, ScaledTrigger], settings: Settings) -> Explanation:
    samplers = Samplers(bound_seconds=settings.scaler.bound_seconds, on_measured=lambda seconds, error: None)
    evaluator = Evaluator(Access(settings.redis_connections()), samplers)
    problems = []
    try:
        for owner, scaled in triggers.items():
            try:
                await evaluator.evaluate(owner, scaled)
            except SourceError as error:
                problems.append(f"{owner.name}: {error}")
    finally:
        await samplers.close()
    return Explanation([trigger_status(tracked) for tracked in evaluator.tracked()], problems)


def _problem(status: TriggerStatus) -> str:
    owner = "/".join(part for part in (status.namespace, status.scaled_object) if part)
    return f"{owner}: {status.error or status.reason}"
