-- Moves an entry to the dead-letter stream, unless it is no longer
-- pending. It is acked last, so that a refused XADD (no memory, wrong type) loses nothing.
--
-- KEYS   the stream, its dead-letter stream
-- ARGV   group, entry ID, about how many dead letters to keep, then names and values
-- Result the dead letter's ID; nil if the entry isn't pending
-- Cost   O(log n) of the pending list, plus the entry's size

if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then
	return false
end
local id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', unpack(ARGV, 4))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return id
