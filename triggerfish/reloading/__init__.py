"""Loads an app again when its files change (`--reload`). No process that runs for long imports the app.

- `loading`: a process that imports the app, and reports its triggers or what is wrong
- `loaded`: starts such a process
- `files`: notices changes of files, with watchfiles
- `reloader`: loads the app at the start and after each change
- `instance`: the process of `triggerfish run --reload`, with the machinery of `triggerfish up`
"""
