"""What an error about a queue names: the trigger, and where the rights that it needs are listed."""

from listeners.errors import AccessDeniedError, SourceError

__all__ = ["of_trigger", "with_rights"]

#: What an error says about commands that `triggerfish check` knows, and what applies to queues.
_CHECK = "Allow it with the command that `triggerfish check --acl` prints"
_RIGHTS = "The reference of queue triggers lists the commands and keys that the user needs"


def with_rights(error: AccessDeniedError) -> AccessDeniedError:
    """Return an error that names the reference of the rights that queues need."""
    return AccessDeniedError(str(error).replace(_CHECK, _RIGHTS))


def of_trigger(reads: str, error: SourceError) -> SourceError:
    """Return an error of what several triggers share as the error of one that reads this."""
    found = with_rights(error) if isinstance(error, AccessDeniedError) else error
    return type(found)(f"measuring {reads}: {found}")
