"""Projects of Azure Functions in Python: a folder with host.json becomes an App, with its code as it is.

- `project`: loads a project
- `host_file`, `json_files`: host.json, and how JSON is read
- `app_settings`, `connections`: app settings, and the connections among them
- `folders`, `decorated`: the two programming models, v1 (function.json) and v2 (function_app.py)
- `definitions`: what both have in common, and importing a user's code
- `bindings`, `triggers`: what a function's bindings mean
- `shapes`: what a parameter gets
- `commands`: input and output bindings
- `calls`, `invocation`: calls a function as the host of Azure Functions does

It uses what an app can use of `listeners`, and only `triggerfish.apps` imports it.
"""
