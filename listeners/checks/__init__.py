"""What `triggerfish check` reports: whether an app's triggers can be read, and what may lose or repeat entries.

- `advice`: server settings that may lose or repeat entries
- `commands`: commands that the user may not run, or that the server does not have
- `state`: keys of another type, replicas, groups that do not exist yet
- `leased_trial`, `pubsub_trial`: execute what the host executes, on `temporary_keys`
- `tracking_trial`: whether Redis reports changes, so that the scaler need not poll
- `check`: checks each trigger, and returns the ACL rule for the app's user

It may import every other package of `listeners`.
"""
