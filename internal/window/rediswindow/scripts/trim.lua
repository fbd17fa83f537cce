-- Forgets clears of a window that are too old to matter and, of the rest, all but the newest. Of those it
-- forgets only what the window's log already says may have been forgotten (the floor).
--
-- KEYS   1 the window's sorted set of clears: tags, scored by time in ms
-- ARGV   1 the time in ms up to which clears are too old; 2 how many are remembered;
--        3 the floor in the window's log, in ms; 0 if it has none
-- Result how many clears were forgotten though they are not too old; and, if there are still too many,
--        the floor in ms that the log needs first, else 0
-- Cost   O(log n) and what is forgotten

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1])
local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[2])
if excess <= 0 then return {0, 0} end
local dropped = #redis.call('ZRANGE', KEYS[1], '-inf', ARGV[3], 'BYSCORE', 'LIMIT', 0, excess)
if dropped > 0 then redis.call('ZREMRANGEBYRANK', KEYS[1], 0, dropped - 1) end
if dropped == excess then return {dropped, 0} end
local last = redis.call('ZRANGE', KEYS[1], excess - dropped - 1, excess - dropped - 1, 'WITHSCORES')
return {dropped, tonumber(last[2])}
