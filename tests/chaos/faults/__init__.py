"""What goes wrong: faults are drawn and injected one at a time (`injection`); network faults (`proxy`); takeovers."""
