"""Functions and triggers: what an app declares, and what its functions receive.

- `app`: App, its decorators, and the functions that they register
- `annotations`: takes annotations apart
- `binding`: how a function is called
- `context`: what a function may ask about its call
- `conversion`: how an entry becomes a value of a type
- `declarations`: reads triggers from decorators, files and metadata
- `entries`: entries, messages and settlements
- `factories`: functions that make an app
- `lifespan`, `middleware`: what an app has around its process and its calls
- `loading`: loads an app from a file, a module or a declaration
- `mistakes`: where in the user's code an import failed
- `surroundings`: runs a call with a context and within middleware
- `triggers`: the parameters of list, stream and pub/sub triggers

It may import `runtime` and the single modules of `listeners`.
"""
