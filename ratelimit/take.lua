-- Decides every key before it charges any. Times are microseconds by the clock of the server; %.3f keeps what tostring
-- would round away. ARGV holds for each key: kind, cost, dry run, and three or four numbers of the kind:
--   r, a rate: the interval of one event, the burst, and up to how many events are granted instead of cost
--   q, a quota: its size, and the start of the caller's window, its end, and the end of the next
--   c, places: how many there are, how long one is leased, and the name of the one to take
-- For each key comes back: what is missing, as a time and 0 for nothing; what remains; when all of it is back; what was
-- granted.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local all, state, out = true, {}, {}

for i, key in ipairs(KEYS) do
  local a = 7 * (i - 1)
  local kind, cost, dry = ARGV[a + 1], tonumber(ARGV[a + 2]), ARGV[a + 3] == '1'
  local x, y, z = tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5]), tonumber(ARGV[a + 6])
  local s = {kind = kind, x = x, y = y, over = 0}
  if kind == 'r' then
    s.lead = math.max(0, (tonumber(redis.call('GET', key)) or 0) - now)
    local room = math.floor((x * y - s.lead) / x + 0.000001)
    s.grant = math.max(cost, math.min(z, room))
    local over = s.lead + x * s.grant - x * y
    if over > 0.5 then s.over = math.ceil(over) end
  elseif kind == 'q' then
    local used, finish = string.match(redis.call('GET', key) or '', '^(%d+):(%d+)$')
    s.used, s.finish = tonumber(used) or 0, tonumber(finish) or 0
    if s.finish <= now then
      s.used, s.finish = 0, z
      if now < y then s.finish = y elseif now >= z then s.finish = tonumber(ARGV[a + 7]) end
    end
    s.grant = cost
    if s.used + cost > x then s.over = math.max(1, s.finish - now) end
  else
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    s.used, s.member, s.grant = redis.call('ZCARD', key), ARGV[a + 6], 1
    if s.used + 1 > x then s.over = 1000000 end
  end
  if s.over > 0 and not dry then all = false end
  state[i] = s
end

for i, key in ipairs(KEYS) do
  local s = state[i]
  local charge = all and s.over == 0
  if not charge then s.grant = 0 end
  local remaining, reset
  if s.kind == 'r' then
    local lead = s.lead + s.x * s.grant
    if charge then
      redis.call('SET', key, string.format('%.3f', now + lead), 'PX', math.max(1, math.ceil(lead / 1000)))
    end
    remaining, reset = math.floor((s.x * s.y - lead) / s.x + 0.000001), math.ceil(lead)
  elseif s.kind == 'q' then
    if charge then
      redis.call('SET', key, string.format('%d:%d', s.used + s.grant, s.finish), 'PX', math.max(1, math.ceil((s.finish - now) / 1000)))
    end
    remaining, reset = s.x - s.used - s.grant, s.finish - now
  else
    if charge then
      redis.call('ZADD', key, now + s.y, s.member)
      redis.call('PEXPIRE', key, math.ceil(s.y / 1000))
    end
    remaining, reset = s.x - s.used - s.grant, 0
  end
  out[4 * i - 3], out[4 * i - 2], out[4 * i - 1], out[4 * i] = s.over, remaining, reset, s.grant
end
return out
