"""What `triggerfish check` reports: whether an app's triggers can be read, and what may lose or repeat entries.

- `advice`: server settings that may lose or repeat entries, and commands that the user may not run
- `check`: checks each trigger, and returns the ACL rule for the app's user

It may import every other package of `listeners`.
"""
