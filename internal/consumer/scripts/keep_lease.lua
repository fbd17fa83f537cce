-- Renews a lease, also one that Redis has lost, unless it is another's by now.
--
-- KEYS   the lease
-- ARGV   its value, its TTL in ms
-- Result 1 if it is ours
-- Cost   O(1)

local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
