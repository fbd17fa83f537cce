-- Changes fields of the membership hash, if there is one, and always the generation: a rebuild
-- that is under way learns from it that what it read is old.
-- KEYS   1 membership hash; 2 generation, in the same slot
-- ARGV   1 new generation; 2 its TTL in ms; then for each change three: field, value ('' deletes it),
--        and the value that it must have to be deleted ('' for any)
-- Result the values that the changed fields had, '' for none; empty where there is no hash
-- Cost   O(changes): SET, EXISTS, and HGET with HSET or HDEL for each; 2 µs of Redis each
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
local had = {}
if redis.call('EXISTS', KEYS[1]) == 0 then return had end
for i = 3, #ARGV, 3 do
  local old = redis.call('HGET', KEYS[1], ARGV[i])
  had[#had + 1] = old or ''
  if ARGV[i + 1] ~= '' then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  elseif old and (ARGV[i + 2] == '' or ARGV[i + 2] == old) then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return had
