package lua

// span finds out whether what a span's hash holds can be believed: it must be as many fields
// as were written, and be said by a field of its own:
//
//	#         "<name of this data> <writes> <fields> <names of clients> <… of models> <… of keys>"
//	@<node>   the node's last batch
//	<name>    numbers with a space between; the first letter says what kind of name it is
//
// Where somebody else has written into it, even something of another type, it counts as lost,
// and the nodes bring back what they know.
const span = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local most = 9e15
local function text(n)
  return string.format('%.0f', n)
end
local function number(digits)
  return type(digits) == 'string' and #digits <= 17 and string.match(digits, '^%d+$') and tonumber(digits) or 0
end
local function open(key)
  local said = try('HGET', key, '#')
  if type(said) ~= 'string' or #said > 200 then
    return nil
  end
  local name, writes, fields, c, m, k = string.match(said, '^(%w+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  if not name or #name > 40 or #writes > 15 or redis.call('HLEN', key) ~= number(fields) then
    return nil
  end
  return {said = said, name = name, writes = number(writes), fields = number(fields), c = number(c), m = number(m), k = number(k)}
end
local function close(key, s, keep)
  redis.call('HSET', key, '#', table.concat({s.name, text(s.writes + 1), text(s.fields), text(s.c), text(s.m), text(s.k)}, ' '))
  redis.call('PEXPIREAT', key, text(now + keep))
end
`

// Count adds batches of a node, each if it is the next one. A name that is one too many is
// counted as other. Where numbers are to be added to what is none, or the node's last batch is
// none, the span is lost: each of them is what keep.ParseNumber takes, no more and no less.
//
//	KEYS: for each batch its span
//	ARGV: node; a name that nothing else has, for new data; how many clients, models and keys there may be; then for each batch: number,
//	      1 if the span was there before, for how many ms it is kept, how many cells; for each of these: name, numbers
//	reply: for each batch the node's last batch that the span has, or -1 if the span is lost
var Count = New(span + `
local node, bound = '@' .. ARGV[1], {c = tonumber(ARGV[3]), m = tonumber(ARGV[4]), k = tonumber(ARGV[5])}
local function plain(n) -- which Lua writes in full
  return n < 1e14 and n or text(math.min(n, most))
end
local function sum(old, new)
  local sums, had, i, n = {}, {}, 0, 0
  for digits in string.gmatch(old or '', '%d+') do
    n = n + 1
    had[n] = digits
  end
  for digits in string.gmatch(new, '%d+') do
    i = i + 1
    sums[i] = plain(digits + (had[i] or 0))
  end
  for j = i + 1, n do
    sums[j] = had[j]
  end
  return table.concat(sums, ' ')
end
local long = string.rep('%d', 16)
local function sound(old)
  if not old then
    return true
  elseif #old > 400 or string.find(old, '[^%d ]') or string.find(' ' .. old .. ' ', '  ', 1, true) then
    return false
  elseif string.find(old, long) then
    for digits in string.gmatch(old, '%d+') do
      if #digits > 16 or tonumber(digits) > most then
        return false
      end
    end
  end
  return true
end
local function lastOf(had) -- nothing where that is no number of a batch
  if not had then
    return 0
  end
  local n = #had <= 16 and string.match(had, '^%d+$') and tonumber(had) or 0
  return n >= 1 and n <= most and n or nil
end
local function add(key, s, first, last)
  local names, values, more, set = {}, {}, {c = s.c, m = s.m, k = s.k}, {}
  for i = first, last, 2 do
    names[#names + 1] = ARGV[i]
  end
  local olds = redis.call('HMGET', key, unpack(names))
  for i, name in ipairs(names) do
    local kind, old = string.sub(name, 1, 1), values[name] or olds[i]
    if not old and more[kind] >= bound[kind] then
      name = kind .. 'other'
      old = values[name] or redis.call('HGET', key, name)
    end
    if not sound(old) then
      return false
    end
    if not old then
      more[kind] = more[kind] + 1
    end
    values[name] = sum(old, ARGV[first + 2 * i - 1])
  end
  for name, value in pairs(values) do
    set[#set + 1] = name
    set[#set + 1] = value
  end
  redis.call('HSET', key, unpack(set))
  s.fields = s.fields + more.c + more.m + more.k - s.c - s.m - s.k
  s.c, s.m, s.k = more.c, more.m, more.k
  return true
end
local reply, at = {}, 6
for i, key in ipairs(KEYS) do
  local seq, known, keep, cells = tonumber(ARGV[at]), ARGV[at + 1] ~= '', tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local first = at + 4
  at = first + 2 * cells
  local s = open(key)
  if not s and known then
    reply[i] = -1
  else
    if not s then
      redis.call('UNLINK', key)
      s = {name = ARGV[2], writes = 0, fields = 1, c = 0, m = 0, k = 0}
    end
    local had = redis.call('HGET', key, node)
    reply[i] = lastOf(had) or -1
    if seq == reply[i] + 1 and not add(key, s, first, at - 2) then
      reply[i] = -1
    elseif seq == reply[i] + 1 then
      if not had then
        s.fields = s.fields + 1
      end
      redis.call('HSET', key, node, text(seq))
      close(key, s, keep)
      reply[i] = seq
    end
  end
end
return reply
`)

// Counted reads spans, each at one moment: the first of them, and as many more as hold so many
// fields together.
//
//	KEYS: spans
//	ARGV: how many fields; for each span the version that is known, or nothing
//	reply: for each span that was read its version, or nothing, and what it holds if that is another version
var Counted = New(span + `
local reply, room = {}, tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  local s = open(key)
  local all = {s and s.said or ''}
  if s and s.said ~= ARGV[i + 1] then
    room = room - s.fields
    if room < 0 and i > 1 then
      break
    end
    local cursor = '0'
    repeat
      local page = redis.call('HSCAN', key, cursor, 'COUNT', 1000)
      cursor = page[1]
      for _, word in ipairs(page[2]) do
        all[#all + 1] = word
      end
    until cursor == '0'
  end
  reply[i] = all
end
return reply
`)

// Recount makes a span anew that is lost, or that has this version and is not sound.
//
//	KEYS: span
//	ARGV: version; a name that nothing else has; for how many ms it is kept; how many clients, models and keys there are; then fields and values
//	reply: 1 if it is made
var Recount = New(span + `
local s = open(KEYS[1])
if (s and s.said or '') ~= ARGV[1] then
  return 0
end
redis.call('UNLINK', KEYS[1])
for i = 7, #ARGV, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
local fields = redis.call('HLEN', KEYS[1]) + 1
close(KEYS[1], {name = ARGV[2], writes = 0, fields = fields, c = number(ARGV[4]), m = number(ARGV[5]), k = number(ARGV[6])}, tonumber(ARGV[3]))
return 1
`)
