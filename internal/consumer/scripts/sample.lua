-- Measures how far the group is behind, and whether entries were trimmed before the
-- group read them.
--
-- Redis 7 counts the entries added to a stream (entries-added) and those a group has read
-- (entries-read). What is neither read nor there was trimmed unread. Only entries-added can be
-- relied on: what XREADGROUP delivers reaches the append-only file and the replicas without
-- entries-read, so that after a restart or a failover it is what it was at the last rewrite or full
-- synchronization. master_replid changes at both. So the script counts losses only under a
-- master_replid under which entries-read was found right, or set right, before; it is right from
-- then on until that changes.
--
-- Where the entry last delivered is there, or an earlier one, nothing after it was trimmed. What was
-- trimmed before it, unread, shows only while the count can be relied on and no entry was ever deleted
-- by its ID: a worker may have read past the gap before anyone measured.
--
-- KEYS   the stream
-- ARGV   group, the master_replid under which entries-read was last known to be right, 1 to set entries-read right
-- Result entries not delivered, 1 if that is exact (0: an estimate), pending, age of the oldest unprocessed entry in ms,
--        entries certainly trimmed unread, 1 if entries may have been trimmed unread in a number that isn't known,
--        the master_replid if entries-read is right now, else ""; nil if the group isn't there
-- Cost   O(groups), and up to 1,000 entries or about 1 MB read where the number can't be relied on

local group = groups(KEYS[1])[ARGV[1]]
if not group then return false end
local info = redis.pcall('INFO', 'replication')
local history = type(info) == 'string' and string.match(info, 'master_replid:(%w+)') or ''
local trusted = history ~= '' and history == ARGV[2]

local delivered, read = group['last-delivered-id'], group['entries-read']
local stream = record(redis.call('XINFO', 'STREAM', KEYS[1]))
local added, last = stream['entries-added'], stream['last-generated-id'] or delivered
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local unread = redis.call('XRANGE', KEYS[1], '(' .. delivered, '+', 'COUNT', 1)[1]

local oldest = unread and unread[1]
if group.pending > 0 then oldest = redis.call('XPENDING', KEYS[1], ARGV[1])[2] end
local age = 0
if oldest then
	local now = redis.call('TIME')
	age = math.max(0, math.floor(now[1] * 1000 + now[2] / 1000) - tonumber(string.match(oldest, '^%d+')))
end

-- count returns how many entries there are after the one last delivered, and whether those are all.
local function count()
	local n, bytes, from = 0, 0, delivered
	while n < 1000 and bytes < 1048576 do
		local page = redis.call('XRANGE', KEYS[1], '(' .. from, '+', 'COUNT', 50)
		n = n + #page
		if #page < 50 then return n, true end
		from = page[#page][1]
		for _, entry in ipairs(page) do
			for _, text in ipairs(entry[2]) do bytes = bytes + #text end
		end
	end
	return n, false
end
-- estimate takes entries for evenly spread over time, and at least as many as were counted.
local function estimate(counted)
	local function ms(id) return tonumber(string.match(id, '^%d+')) end
	local last = ms(last)
	local n = stream.length * (last - ms(delivered)) / math.max(last - ms(first[1]), 1)
	if added and read then n = math.min(n, added - read) end
	return math.floor(math.max(counted, math.min(n, stream.length)))
end

local left, exact = 0, true
local deleted = stream['max-deleted-entry-id']
if not unread then
	left = 0
elseif unread[1] == first[1] then
	left = stream.length
elseif trusted and added and read and deleted == '0-0' and added - read > 0 and added - read <= stream.length then
	left = added - read
else
	left, exact = count()
	if not exact then left = estimate(left) end
end

local whole = first and not before(delivered, first[1]) or not before(delivered, last)
local lost, unknown = 0, 0
if added and trusted and read and (not whole or exact and deleted == '0-0') then
	lost = math.max(0, added - read - left)
elseif added and not whole then
	if delivered ~= '0-0' and (not read or added - read - left > 0) then
		unknown = 1
	end
end

local right = exact and added and added - left
if not right then
	history = ''
elseif right ~= read and (ARGV[3] ~= '1' or
	redis.pcall('XGROUP', 'SETID', KEYS[1], ARGV[1], delivered, 'ENTRIESREAD', right).err) then
	lost, unknown, history = 0, 0, '' -- they would be counted again
end
return {left, exact and 1 or 0, group.pending, age, lost, unknown, history}
