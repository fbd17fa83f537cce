-- Forgets clears of a window that are too old to matter, and of the rest all but the newest.
--
-- KEYS   1 the window's sorted set of clears: tags, scored by time in ms
-- ARGV   1 the time in ms up to which clears are too old; 2 how many are remembered;
--        3 the member, no tag, that says up to when clears were forgotten; 4 what its score is above that time
-- Result how many clears were forgotten though they are not too old
-- Cost   O(log n) and what is forgotten

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1])
local clears = redis.call('ZCARD', KEYS[1])
if redis.call('ZSCORE', KEYS[1], ARGV[3]) then clears = clears - 1 end
local excess = clears - tonumber(ARGV[2])
if excess <= 0 then return 0 end
local last = redis.call('ZRANGE', KEYS[1], excess - 1, excess - 1, 'WITHSCORES')
redis.call('ZADD', KEYS[1], 'GT', string.format('%.0f', tonumber(last[2]) + tonumber(ARGV[4])), ARGV[3])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, excess - 1)
return excess
