-- Changes who is present in a channel. All in one step, so that each join and each leave is told once.
-- KEYS: the entries by connection, the number of connections by user, the connections ordered by node, the epoch.
-- ARGV: the channel, PUBLISH or SPUBLISH, the node, and then four for each change:
--   join   connection  epoch  entry   the connection is there. Where it was not, subscribers are told, unless the epoch in which
--                                     they were told before has ended: Redis has forgotten the channel, and they have not.
--   leave  connection  ''     ''      the connection is not there
--   sweep  connection  ''     ''      the same, if it is the node's
-- An entry is {"node":"…","events":"…","user":"…","info":…}, in this order and without spaces.
-- Returns the epoch and how many connections were there before and are not now.
local now = redis.call('TIME')
local epoch = redis.call('GET', KEYS[4])
if not epoch then
  epoch = now[1] .. '-' .. now[2]
  redis.call('SET', KEYS[4], epoch)
end
local removed = 0

-- A quotation mark in the user's name has a backslash before it, so that what ends the name here is not in it.
local function parse(entry)
  local node, events, user = string.match(entry, '^{"node":"([^"]*)","events":"(%a*)","user":"(.-)","info":')
  return node or '', events or '', user or ''
end

-- Subscribers are told of each connection, or of a user's first and last; who has no name counts as one.
local function tell(kind, connection, entry, events, others)
  if events == 'connections' or events == 'users' and others <= 0 then
    redis.call(ARGV[2], ARGV[1], '\193' .. kind .. connection .. ' ' .. entry)
  end
end

for i = 4, #ARGV, 4 do
  local change, connection, since, entry = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local before = redis.call('HGET', KEYS[1], connection)
  local node, events, user = parse(before or entry)
  if change == 'join' then
    redis.call('HSET', KEYS[1], connection, entry)
    if before and node ~= ARGV[3] then
      redis.call('ZREM', KEYS[3], node .. ' ' .. connection)
    end
    redis.call('ZADD', KEYS[3], 0, ARGV[3] .. ' ' .. connection)
    if not before then
      local others = 0
      if user ~= '' then
        others = redis.call('HINCRBY', KEYS[2], user, 1) - 1
      end
      if since == '' or since == epoch then
        tell('j', connection, entry, events, others)
      end
    end
  elseif before and (change == 'leave' or node == ARGV[3]) then
    redis.call('HDEL', KEYS[1], connection)
    redis.call('ZREM', KEYS[3], node .. ' ' .. connection)
    local others = 0
    if user ~= '' then
      others = redis.call('HINCRBY', KEYS[2], user, -1)
      if others <= 0 then
        redis.call('HDEL', KEYS[2], user)
      end
    end
    removed = removed + 1
    tell('l', connection, before, events, others)
  elseif change == 'sweep' then
    redis.call('ZREM', KEYS[3], ARGV[3] .. ' ' .. connection)
  end
end

-- The epoch outlives an empty channel for a while: who comes back from a node that was cut off may have been swept.
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('PERSIST', KEYS[4])
else
  redis.call('PEXPIRE', KEYS[4], 86400000)
end
return {epoch, removed}
