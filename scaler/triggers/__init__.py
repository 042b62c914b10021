"""Triggers as a ScaledObject or an app declares them.

- `app_triggers`: the triggers of an app, and their metadata
- `scaled_objects`: the triggers that a user gives, in YAML or as KEY=VALUE
- `metadata`: reads a trigger from metadata, and names its metric
- `measured_trigger`: the part of a trigger that measuring needs
- `owner`: the owner of a trigger, a ScaledObject or the operator

It may import `scaler.settings` and the lower layers of `listeners`.
"""
