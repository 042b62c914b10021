-- Settles elements in flight. ARGV: as settle() reads them. Answers the ids of those left alone.
return settle(1)
