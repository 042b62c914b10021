"""One program for each library, run by the interpreter of the library's environment.

    PROGRAM send    read numbers from standard input, and add a job with each
    PROGRAM work    run jobs, QUEUE_SLOTS at once, until SIGTERM; then finish those that run

A program gets QUEUE_URL, QUEUE_SECONDS (how long a job takes), QUEUE_SLOTS and QUEUE_MODE (the library's mode). It
records the truth about its jobs beside the library's own keys, as `truth` does. Programs in Python may import only the
library and `truth`: the library's environment lacks the project's dependencies.
"""
