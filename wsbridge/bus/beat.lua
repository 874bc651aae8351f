-- A node that has somebody present says that it lives, and asks which nodes do not.
-- KEYS: the nodes that live, by their latest beat in milliseconds; those that are gone; who sweeps.
-- ARGV: the node; the name that it had until now, empty where it keeps it; 1 for its first beat by this name; 1 to sweep, if
-- nobody else does; after how many milliseconds without a beat a node is gone; for how many whoever sweeps does.
-- Returns 0 where the node is not among those that live, else 1, and the gone nodes that it is to sweep: name, milliseconds
-- since the latest beat.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function written(number) return string.format('%.0f', number) end

if ARGV[2] ~= '' and not redis.call('ZSCORE', KEYS[2], ARGV[2]) then
  redis.call('ZREM', KEYS[1], ARGV[2])
  redis.call('ZADD', KEYS[2], written(now), ARGV[2])
end
if ARGV[3] ~= '1' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return {0, {}}
end
redis.call('ZADD', KEYS[1], written(now), ARGV[1])
if ARGV[4] ~= '1' then
  return {1, {}}
end
local silent = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', written(now - ARGV[5]), 'WITHSCORES')
for i = 1, #silent, 2 do
  redis.call('ZREM', KEYS[1], silent[i])
  redis.call('ZADD', KEYS[2], silent[i + 1], silent[i])
end
local gone = redis.call('ZRANGE', KEYS[2], 0, 255, 'WITHSCORES')
if #gone > 0 then
  local sweeper = redis.call('HMGET', KEYS[3], 'node', 'until')
  if sweeper[1] and sweeper[1] ~= ARGV[1] and tonumber(sweeper[2]) > now then
    return {1, {}}
  end
  redis.call('HSET', KEYS[3], 'node', ARGV[1], 'until', written(now + ARGV[6]))
  for i = 2, #gone, 2 do
    gone[i] = written(now - gone[i])
  end
end
return {1, gone}
