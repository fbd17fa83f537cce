-- Puts a rebuilt membership hash into place, unless a block was written since the rebuild began.
-- KEYS   1 membership hash; 2 the rebuilt one; 3 generation, all in the same slot
-- ARGV   1 generation at the beginning; 2 TTL in ms of the hash
-- Result 1 if it is in place; 2 if so and there was no complete one of its size before; 0 if it conflicts with
--        a newer write and was deleted
-- Cost   O(1): the old hash is freed in the background
if redis.call('GET', KEYS[3]) ~= ARGV[1] then
  redis.call('UNLINK', KEYS[2])
  return 0
end
local other = redis.call('HEXISTS', KEYS[1], 'complete') == 0 or redis.call('HLEN', KEYS[1]) ~= redis.call('HLEN', KEYS[2])
redis.call('UNLINK', KEYS[1])
redis.call('RENAME', KEYS[2], KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return other and 2 or 1
