-- Counts one more page of undelivered entries of a stream (KEYS[1]), and one of delivered entries.
--
-- ARGV: the first ID of the undelivered page; the first and the last possible ID of the delivered page; their size.
-- Reply: microseconds, length of the stream, and the pages, each {entries, ID of the last one}.

return timed(function()
  return { call('XLEN', KEYS[1]), page(ARGV[1], '+', ARGV[4]), page(ARGV[2], ARGV[3], ARGV[4]) }
end)
