-- Adds changes to the stream that mirrors follow, and moves its head. A stream or a head that is gone
-- begins a new epoch, by which followers learn that they may have missed something.
-- KEYS   1 stream of changes; 2 its head, in the same slot
-- ARGV   1 a new epoch's name; 2 entries that the stream keeps; 3 TTL in ms of both keys; 4 scopes an entry;
--        then the scopes' fields in the membership hash, or '*' for all
-- Result ID of the last entry
-- Cost   O(scopes): GET, EXISTS, SET, PEXPIRE, and an XADD for each entry; 9 µs of Redis and 0.3 µs a scope
local epoch, seq, id = string.match(redis.call('GET', KEYS[2]) or '', '^(%S+) (%d+) (%S+)$')
if not epoch or redis.call('EXISTS', KEYS[1]) == 0 then
  epoch, seq, id = ARGV[1], 0, ''
end
local each = tonumber(ARGV[4])
for first = 5, #ARGV, each do
  seq = seq + 1
  local entry = {'XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'epoch', epoch, 'seq', string.format('%.0f', seq), 'prev', id}
  for i = first, math.min(first + each - 1, #ARGV) do
    entry[#entry + 1] = tostring(i - first)
    entry[#entry + 1] = ARGV[i]
  end
  id = redis.call(unpack(entry))
end
redis.call('SET', KEYS[2], epoch .. ' ' .. string.format('%.0f', seq) .. ' ' .. id, 'PX', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return id
