-- Asks the node that has a stream for its time.
--
-- KEYS   the stream
-- ARGV   none
-- Result seconds and microseconds, as TIME
-- Cost   O(1)

return redis.call('TIME')
