-- Puts a rebuilt membership hash into place, unless a block was written since the rebuild began.
-- KEYS   1 membership hash; 2 the rebuilt one; 3 generation, all in the same slot
-- ARGV   1 generation at the beginning; 2 TTL in ms of the hash
-- Result 1 if it is in place; 0 if it was overtaken and thrown away
-- Cost   O(1): the old hash is freed in the background
if redis.call('GET', KEYS[3]) ~= ARGV[1] then
  redis.call('UNLINK', KEYS[2])
  return 0
end
redis.call('UNLINK', KEYS[1])
redis.call('RENAME', KEYS[2], KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
