-- Settles elements in flight. ARGV: see settle(). Returns the ids of elements that a later delivery holds.
return settle(1)
