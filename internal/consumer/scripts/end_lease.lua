-- Deletes a lease that still has its value.
--
-- KEYS   the lease
-- ARGV   the value
-- Result 1 if it was deleted
-- Cost   O(1)

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
