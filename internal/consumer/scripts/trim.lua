-- Trims entries that are older than the retention and that no group has
-- unread or pending. It does nothing where our group isn't there, since it would
-- read from the start.
--
-- KEYS   the stream
-- ARGV   our group, the retention in ms, how many entries to trim at most
-- Result how many entries were trimmed
-- Cost   O(groups), plus O(1) per block of 100 entries trimmed

local all = groups(KEYS[1])
if not all[ARGV[1]] then return 0 end
local now = redis.call('TIME')[1]
local cut = math.floor(now * 1000 - ARGV[2])
if cut <= 0 then return 0 end
local id = string.format('%.0f-0', cut)
for name, g in pairs(all) do
	local needed = {g['last-delivered-id']}
	if g.pending > 0 then needed[2] = redis.call('XPENDING', KEYS[1], name)[2] end -- later than what is unread once a group was set back
	for _, first in ipairs(needed) do
		if before(first, id) then id = first end
	end
end
return redis.call('XTRIM', KEYS[1], 'MINID', '~', id, 'LIMIT', ARGV[3])
