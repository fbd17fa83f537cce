-- Removes the block of one scope and leaves a tombstone, which keeps earlier events from blocking it
-- again. The tombstone is never in the future, whatever the operator's clock says, and never moves back.
-- KEYS   1 block key; 2 tombstone, in the same slot; not in a Redis Cluster also 3 membership hash; 4 generation
-- ARGV   1 time of the unblock in ms; 2 TTL in ms of the tombstone; 3 field in the membership hash; 4 new generation; 5 its TTL in ms; 6 the present in ms as far
--        as it is known to be later than by this server's clock, 0 for that
-- Result {value of the key that was lifted, that of the field}, '' for none
-- Cost   O(1): GET, GET, TIME, SET, DEL; SET, HGET, HDEL; 10 µs of Redis
local time = redis.call('TIME')
local now = math.max(time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[6]))
local at = math.min(tonumber(ARGV[1]), now)
local tombstone = tonumber(redis.call('GET', KEYS[2]) or '')
if not tombstone or tombstone < at then
  redis.call('SET', KEYS[2], string.format('%.0f', at), 'PX', ARGV[2])
end
local cur = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
local member
if KEYS[3] then
  redis.call('SET', KEYS[4], ARGV[4], 'PX', ARGV[5])
  member = redis.call('HGET', KEYS[3], ARGV[3])
  redis.call('HDEL', KEYS[3], ARGV[3])
end
return {cur or '', member or ''}
