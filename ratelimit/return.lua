-- Gives back events of a rate (r: cost, interval) or a quota (q: cost, and the end of the window it is of).
local value, cost, x = redis.call('GET', KEYS[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not value then return 0 end
local ttl = redis.call('PTTL', KEYS[1])
if ttl <= 0 then return 0 end
if ARGV[1] == 'r' then
  local interval = cost * x
  ttl = math.max(1, ttl - math.floor(interval / 1000))
  redis.call('SET', KEYS[1], string.format('%.3f', tonumber(value) - interval), 'PX', ttl)
else
  local used, finish = string.match(value, '^(%d+):(%d+)$')
  redis.call('SET', KEYS[1], string.format('%d:%s', math.max(0, tonumber(used) - cost), finish), 'PX', ttl)
end
return 1
