-- Puts what a node has counted in place of what it told before, and returns what each node has. Nobody adds to a number that
-- others know: that a call comes twice, or is lost, changes nothing once the next one comes.
-- KEYS[1] is a hash by node of "milliseconds counts", the time by the server's clock. ARGV: the node, its counts, and for how many
-- milliseconds the counts of a node are worth something that tells no more.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local keep = tonumber(ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now) .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], keep)
local all, told = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  local space = string.find(all[i + 1], ' ', 1, true) or 1
  local at = tonumber(string.sub(all[i + 1], 1, space - 1)) or 0
  if at < now - keep then
    redis.call('HDEL', KEYS[1], all[i])
  else
    told[#told + 1] = string.sub(all[i + 1], space + 1)
  end
end
return told
