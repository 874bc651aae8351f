-- Publishes a payload to a channel and keeps it. All in one step: the offset is the next one, what is too much goes.
-- KEYS: the channel's history, its position, and optionally a key that names the publication.
-- ARGV: the channel, the payload, how many messages are kept, for how many milliseconds, PUBLISH or SPUBLISH.
-- Returns the epoch, the offset, and how many subscribers Redis handed the payload to, -1 when it did so before.
if KEYS[3] then
  local done = redis.call('GET', KEYS[3])
  if done then
    return {string.match(done, '^%S+'), string.match(done, '%S+$'), -1}
  end
end
local at = redis.call('HMGET', KEYS[2], 'epoch', 'offset', 'server')
local now = redis.call('TIME')
local info = redis.pcall('INFO', 'replication')
local server = type(info) == 'string' and string.match(info, 'master_replid:(%w+)') or ''
local epoch, last = at[1], tonumber(at[2])
if not epoch then
  epoch, last = now[1] .. '-' .. now[2], 0
  redis.call('DEL', KEYS[1]) -- what outlived its position has offsets of another epoch
end
local offset = last + 1
-- Another server than the last time: a replica that was promoted, or a restart, and it may have forgotten the latest
-- messages. Their offsets are not given to others, so that nobody takes a new message for one he has seen: it goes on with
-- the time in microseconds, which no count of messages gets to.
if at[3] and at[3] ~= server then
  offset = math.max(offset, now[1] * 1000000 + now[2])
end
local to, from = string.format('%.0f', offset), string.format('%.0f', last)
local ttl = tonumber(ARGV[4])
redis.call('HSET', KEYS[2], 'epoch', epoch, 'offset', to, 'server', server)
redis.call('PEXPIRE', KEYS[2], ttl + 86400000)
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[3], to .. '-' .. now[1], 'm', ARGV[2], 'p', from)
redis.call('PEXPIRE', KEYS[1], ttl)
if KEYS[3] then
  redis.call('SET', KEYS[3], epoch .. ' ' .. to, 'PX', ttl)
end
local subscribers = redis.call(ARGV[5], ARGV[1], '\193m' .. epoch .. ' ' .. to .. ' ' .. from .. ' ' .. ARGV[2])
return {epoch, to, subscribers}
