-- Replaces the beginning of a window's log by fewer records with the same meaning.
--
-- KEYS   1 the window's log
-- ARGV   1 the first record it must begin with, which every compaction changes;
--        2 the length in bytes of what is replaced; 3 the records instead; 4 the TTL in milliseconds
-- Result 1 if it was done, 0 if another worker has compacted the log, or it is gone
-- Cost   GET and SET of one log, which is about twice the window's capacity

local log = redis.call('GET', KEYS[1])
local size = tonumber(ARGV[2])
if not log or #log < size or string.sub(log, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[3] .. string.sub(log, size + 1), 'PX', ARGV[4])
return 1
