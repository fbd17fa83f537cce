-- The start of scripts that look at streams and groups.
--
-- KEYS   what the script uses
-- ARGV   likewise
-- Result none: it only defines functions
-- Cost   none by itself; groups is O(groups)

-- record turns a flat list of names and values into a table.
local function record(list)
	local t = {}
	for i = 1, #list, 2 do t[list[i]] = list[i + 1] end
	return t
end

local function smaller(a, b)
	if #a ~= #b then return #a < #b end
	return a < b
end

-- before compares entry IDs: their parts are numbers past what Lua's doubles hold exactly, but have no
-- leading zeros, so the shorter is the smaller.
local function before(a, b)
	local am, as = string.match(a, '^(%d+)-(%d+)$')
	local bm, bs = string.match(b, '^(%d+)-(%d+)$')
	if am ~= bm then return smaller(am, bm) end
	return smaller(as, bs)
end

-- groups returns the records of all groups of a stream by name, none if the stream does not exist.
local function groups(key)
	local all = {}
	if redis.call('EXISTS', key) == 1 then
		for _, list in ipairs(redis.call('XINFO', 'GROUPS', key)) do
			local g = record(list)
			all[g.name] = g
		end
	end
	return all
end
