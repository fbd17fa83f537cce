-- Deletes a key if it still has a value.
-- KEYS   1 block key
-- ARGV   1 value
-- Result 1 if it was deleted
-- Cost   O(1)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
