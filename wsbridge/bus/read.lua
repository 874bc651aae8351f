-- Reads what a channel has kept since an offset, and begins its epoch where it has none.
-- KEYS: the channel's history, its position.
-- ARGV: the epoch of the offset, empty to ask for the position only; the offset; for how many milliseconds messages are
-- kept; how many bytes to return, about.
-- Returns the epoch, the latest offset, 1 when nothing is missing since the offset, 1 when there is more to read, and the
-- messages: offset, offset before it, payload.
local at = redis.call('HMGET', KEYS[2], 'epoch', 'offset')
local now = redis.call('TIME')
local epoch, last = at[1], at[2]
local ttl = tonumber(ARGV[3])
if not epoch then
  local info = redis.pcall('INFO', 'replication')
  epoch, last = now[1] .. '-' .. now[2], '0'
  redis.call('DEL', KEYS[1]) -- what outlived its position has offsets of another epoch
  redis.call('HSET', KEYS[2], 'epoch', epoch, 'offset', last,
    'server', type(info) == 'string' and string.match(info, 'master_replid:(%w+)') or '')
end
redis.call('PEXPIRE', KEYS[2], ttl + 86400000)
local messages = {}
if ARGV[1] ~= epoch then
  return {epoch, last, 0, 0, messages}
end
local since, oldest = tonumber(ARGV[2]), tonumber(now[1]) - ttl / 1000
local whole, more, bytes, from = 1, 0, 0, string.format('%.0f-0', since + 1)
while true do
  local entries = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 8)
  for _, entry in ipairs(entries) do
    local offset, time = string.match(entry[1], '(%d+)-(%d+)')
    local payload, previous = entry[2][2], entry[2][4]
    if tonumber(time) >= oldest then
      if #messages == 0 and tonumber(previous) > since then
        whole = 0
      end
      messages[#messages + 1] = offset
      messages[#messages + 1] = previous
      messages[#messages + 1] = payload
      bytes = bytes + #payload + 32
    end
    from = string.format('%.0f-0', tonumber(offset) + 1)
  end
  if #entries < 8 then
    break
  end
  if bytes >= tonumber(ARGV[4]) then
    more = 1
    break
  end
end
if #messages == 0 and since < tonumber(last) then
  whole = 0
end
return {epoch, last, whole, more, messages}
