-- Moves a dead letter back, if it is still there.
--
-- KEYS   the dead-letter stream, the stream
-- ARGV   the dead letter's ID, then the names and values of the entry
-- Result the new entry's ID; nil if the dead letter is gone
-- Cost   O(log n) plus the entry's size

if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then
	return false
end
local id = redis.call('XADD', KEYS[2], '*', unpack(ARGV, 2))
redis.call('XDEL', KEYS[1], ARGV[1])
return id
