"""What goes wrong, apart from the servers.

- `injection`: draws faults, and injects them one at a time
- `proxy`: network faults
- `takeovers`: takeovers of the pub/sub lease
"""
