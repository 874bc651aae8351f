-- Appends an envelope to a service's queue. What every consumer group has acknowledged is dropped now and then, and nothing
-- else is: a queue that is full refuses.
-- KEYS: the queue, the service's heartbeat, and optionally a key that names the message.
-- ARGV: the envelope; the most entries; for how many milliseconds the message's name is kept; how many milliseconds a
-- heartbeat has left where the service is gone; 1 where the envelope is a question, which is worth nothing later.
-- Returns what became of it and whether the service listens: 1 yes, 0 no, -1 where it has no heartbeat. What became of it is
-- 1 queued, 2 queued before, 3 not queued since nobody would answer, and 0 not queued since the queue is full; then there is,
-- third, the group that has to acknowledge first, '' where there is no group.
local beat = redis.call('PTTL', KEYS[2])
local listens = -1
if beat > 0 then
  listens = beat > tonumber(ARGV[4]) and 1 or 0
end
if ARGV[5] == '1' and listens == 0 then
  return {3, listens}
end
if KEYS[3] and redis.call('EXISTS', KEYS[3]) == 1 then
  return {2, listens}
end

-- first returns the first entry that a group may still need, and which group that is.
local function first()
  local id, ms, seq, who
  for _, reply in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local group = {}
    for i = 1, #reply, 2 do
      group[reply[i]] = reply[i + 1]
    end
    local after = 1 -- what was delivered last is acknowledged, if nothing is pending
    local at = group['last-delivered-id']
    local pending = redis.call('XPENDING', KEYS[1], group['name'])
    if pending[1] > 0 then
      at, after = pending[2], 0
    end
    local m, s = string.match(at, '^(%d+)%-?(%d*)$')
    m, s = tonumber(m), (tonumber(s) or 0) + after
    if not id or m < ms or m == ms and s < seq then
      id, ms, seq, who = string.format('%.0f-%.0f', m, s), m, s, group['name']
    end
  end
  return id, who
end

local length, most = redis.call('XLEN', KEYS[1]), tonumber(ARGV[2])
if length > 0 and (length >= most or length % 256 == 0) then
  local id, who = first()
  if id then
    -- About is cheap, and leaves less than a hundred; only a full queue has them counted.
    redis.call('XTRIM', KEYS[1], 'MINID', '~', id)
    if redis.call('XLEN', KEYS[1]) >= most then
      redis.call('XTRIM', KEYS[1], 'MINID', '=', id)
    end
  end
  if redis.call('XLEN', KEYS[1]) >= most then
    return {0, listens, who or ''}
  end
end
local entry = redis.call('XADD', KEYS[1], '*', 'm', ARGV[1])
if KEYS[3] then
  redis.call('SET', KEYS[3], entry, 'PX', ARGV[3])
end
return {1, listens}
