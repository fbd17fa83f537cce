-- Removes consumers that own nothing pending; XGROUP DELCONSUMER
-- would drop what they own. In one script, nothing can be delivered to them in between.
--
-- KEYS   the stream
-- ARGV   group, a consumer's name (or empty for all), how long they must have been idle in ms
-- Result the names of those removed
-- Cost   O(consumers)

local removed = {}
if not groups(KEYS[1])[ARGV[1]] then return removed end
for _, list in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
	local c = record(list)
	if c.pending == 0 and c.idle >= tonumber(ARGV[3]) and (ARGV[2] == '' or c.name == ARGV[2]) then
		redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], c.name)
		removed[#removed + 1] = c.name
	end
end
return removed
