-- Reads who is present in a channel, in pages.
-- KEYS: the entries by connection, the number of connections by user, the connections ordered by node.
-- ARGV: what the page comes after, as a page before it said, empty for the first; the most connections to return, 0 for none;
-- about the most bytes.
-- Returns how many connections there are, how many users, what the next page comes after, empty for the last, and the page:
-- connection, entry.
local page, after, bytes = {}, '', 0
local limit = tonumber(ARGV[2])
if limit > 0 then
  local from = '-'
  if ARGV[1] ~= '' then
    from = '(' .. ARGV[1]
  end
  local members = redis.call('ZRANGEBYLEX', KEYS[3], from, '+', 'LIMIT', 0, limit + 1)
  for i, member in ipairs(members) do
    if i > limit or bytes >= tonumber(ARGV[3]) then
      after = members[i - 1]
      break
    end
    local connection = string.match(member, ' (.*)$') or ''
    local entry = redis.call('HGET', KEYS[1], connection)
    if entry then
      page[#page + 1] = connection
      page[#page + 1] = entry
      bytes = bytes + #entry
    end
  end
end
return {redis.call('HLEN', KEYS[1]), redis.call('HLEN', KEYS[2]), after, page}
