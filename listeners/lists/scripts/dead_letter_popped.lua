-- Adds a dead letter. KEYS[1]: the dead letters. ARGV: its fields. Returns how many dead letters were dropped.
return add_dead_letter(KEYS[1], ARGV)
