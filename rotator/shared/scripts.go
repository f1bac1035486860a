package shared

import "github.com/keycycler/keycycler/rotator/shared/lua"

// sound finds out what stands in Redis and whether it can be believed: all of it must be
// there (something may have been evicted, or deleted by hand), and as this version
// writes it. Where somebody else has written into it, even things of another type, it is
// made anew: otherwise nodes could not share until it expires. The owners are no part of
// that: they say nothing that a process could not do without, and are made anew alone.
//
// Of the numbers that are kept as text, what has more digits than any that is written is
// none, and no shift is what makes a time of it that is not written: see maxMillis. No stream
// ends beyond where Lua still counts in ones.
const sound = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function whole(text)
  if type(text) == 'string' and #text <= 17 and string.match(text, '^%-?%d+$') then
    return tonumber(text)
  end
end
local function text(n)
  return string.format('%.0f', n)
end
local function between(n, low, high)
  return n and n >= low and n <= high
end
local meta = try('HMGET', KEYS[1], 'version', 'epoch', 'last', 'fields', 'owners', 'kept', 'time', 'shift', 'mark')
local fields, dues = try('HLEN', KEYS[2]), try('ZCARD', DEADLINES)
local epoch, last, mark, kept, seen, shift, owners = '', 0, '', '', 0, 0, 0
local broken = ''
if not meta or meta[1] or meta[2] or fields ~= 0 or dues ~= 0 then
  if not meta then
    broken = 'meta'
    meta = {}
  elseif meta[1] ~= '2' or not between(whole(meta[3]), 0, 9e15) or not between(whole(meta[8]), 1 - now, 9e12 - now) or not string.match(meta[2] or '', '^%w+$') or #meta[2] > 40 then
    broken = 'meta'
  elseif not fields or fields ~= whole(meta[4]) then
    broken = 'state'
  elseif dues ~= fields then
    broken = 'deadlines'
  else
    epoch, last, mark, kept, shift, seen = meta[2], whole(meta[3]), meta[9] or '', meta[6] or '', whole(meta[8]), whole(meta[7]) or 0
  end
end
if epoch ~= '' then
  owners = whole(meta[5]) or 0
  if OWNERS and try('ZCARD', OWNERS) ~= owners then
    broken = 'owners'
  end
end
`

// look tells where the data stands: time, what is broken, epoch and the stream's last
// entry, at one instant. It notes the time, if the process that looks finds it right.
//
// It changes the shift, if that is still what the process has found. What sets the
// journal's time back is only noted at first, as a claim, and done when a second
// process finds the same within ten seconds, to a second.
//
//	KEYS: meta, state, deadlines, owners if there are any
//	ARGV: what the process takes the journal's time for, or nothing, and by how many ms that may be wrong;
//	      its name; what the shift is, or nothing, and is to be, whether that is "back"
var look = lua.New(`
local DEADLINES, OWNERS = KEYS[3], KEYS[4]
` + sound + `
local function change(from, to)
  if ARGV[6] == 'back' then
    local who, what, was, at = string.match(redis.call('HGET', KEYS[1], 'claim') or '', '^(%w+) (%-?%d+) (%-?%d+) (%d+)$')
    if not who or who == ARGV[3] or whole(was) ~= from or math.abs(what - to) > 1000 or math.abs(at - now) > 10000 then
      redis.pcall('HSET', KEYS[1], 'claim', ARGV[3] .. ' ' .. text(to) .. ' ' .. text(from) .. ' ' .. text(now))
      return
    end
  end
  if type(redis.pcall('HSET', KEYS[1], 'shift', text(to), 'time', text(now + to))) == 'number' then
    shift, seen = to, now + to
    redis.pcall('HDEL', KEYS[1], 'claim')
  end
end
if epoch ~= '' then
  if ARGV[4] ~= '' and tonumber(ARGV[4]) == shift then
    change(shift, tonumber(ARGV[5]))
  end
  local time = now + shift
  if ARGV[1] ~= '' and math.abs(time - ARGV[1]) <= tonumber(ARGV[2]) and (seen < time - 1000 or seen > time) then
    redis.pcall('HSET', KEYS[1], 'time', text(time))
  end
end
return {t[1], t[2], broken, epoch, text(last), kept, text(shift), text(seen), text(owners), mark}
`)

// save joins changes with what is known, tells the others what is news, and
// forgets what is over. Of two clearings the later counts, and of the cooldowns
// that were learned after it the later deadline, as in rotator.State.Learn; less
// than a tenth of a second is the network's doing and no news, nor is a clearing that is
// later by less and ends nothing: nodes that pass it on from one Redis to another would
// tell each other for ever, a millisecond later each time. Of two switches the one of
// larger magnitude counts, as in rotator.Switch.
//
// A field that is longer than an id is that of a scope. The clearing in the id's own
// field counts there, too. A clearing in a scope is kept for as long as what it ended
// would have lasted, which the sender says by a deadline that is void, and no longer:
// it is no news where nothing is known and that is over, or not said.
//
// All times are the journal's. The sender says what he takes it for: if he is wrong,
// either Redis' clock has been set, or the command has been on its way for longer
// than he has waited. Then nothing is written and the reply is -1. It is -3 where what
// stood there is lost, or cannot be believed, and the sender does not know that yet.
//
// Of owners each is kept that was used later than is known: two keys may both say
// that a resource is theirs. Lasting ones stand as if they were used keep_owners later: so
// those that pass, whose last digit is odd, go first.
//
// While a cluster moves the slot it creates no key there, and refuses a script that names
// one that is not there beside others that are. So hash and deadlines are never emptied:
// the last field stays though it is over, and where there was none one is made that is.
//
// What is known and would be no news but for Redis having lost it is filled in by one
// process after the other: who comes first is the filler for a few seconds more each time.
// To others the reply is -2.
//
// An entry names the one before it; so others find out whether they have missed any.
// Its id is where it ends, in bytes, so that the stream can be cut off at a number of
// them. Data that is made anew begins at a thousand times the time, which is further on
// than any that was there before: who waits for the next entry hears of it.
//
//	KEYS: meta, state, log, deadlines, owners if there are any
//	ARGV: a name that nothing else has, for the entry and for new data, bytes of the log, node, the journal's time, how wrong that may be in ms,
//	      how many owners are kept, how many follow, shift for new data, "fill" or "filled" or nothing,
//	      by how many ms the time may differ for it to be noted as right, whether data may be made anew,
//	      for each owner: resource, key, use,
//	      then for each change: field, until, learned, cleared, switch, reason, source; 0 is never
var save = lua.New(`
local DEADLINES, OWNERS = KEYS[4], KEYS[5]
` + sound + `
local tolerance, keep, tombstone, ahead = 100, 3600000, 86400000, 3600000
local keep_disabled, keep_enabled, keep_owners, most_switch = 31536000000, 2592000000, 2592000000, 5000000000000
local sent = tonumber(ARGV[4])
local new = epoch == ''
if (new or broken ~= '') and ARGV[11] == '' then
  return -3
end
if new then
  shift = tonumber(ARGV[8])
end
local time = now + shift
if math.abs(time - sent) > tonumber(ARGV[5]) then
  return -1
end
local filler = try('HGET', KEYS[1], 'filler')
if ARGV[9] ~= '' and not new then
  local who, till = string.match(type(filler) == 'string' and filler or '', '^(%w+) (%d+)$')
  if who and who ~= ARGV[3] and time < tonumber(till) and tonumber(till) < time + 10000 then
    return -2
  end
end
local top = try('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)
-- What follows writes: a script that breaks off before it has changed nothing.
if new then
  redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
  epoch, last = ARGV[1], math.max(last, now * 1000)
end
if OWNERS and (broken == 'owners' or not try('ZCARD', OWNERS)) then
  redis.call('UNLINK', OWNERS)
end
if new or broken == 'owners' then
  kept = ARGV[1]
end

local over = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', text(math.min(time, sent)), 'LIMIT', 0, 1000)
if #over == redis.call('HLEN', KEYS[2]) then
  table.remove(over)
end
if #over > 0 then
  redis.call('HDEL', KEYS[2], unpack(over))
  redis.call('ZREM', KEYS[4], unpack(over))
end

local news = {epoch, ARGV[3], text(time), ARGV[1], mark}
local function tell(field, value)
  news[#news + 1] = field
  news[#news + 1] = value
end
local first = 12 + 3 * ARGV[7]
for i = 12, first - 1, 3 do
  local used = text(math.min(tonumber(ARGV[i + 2]), time))
  local passes = string.find('13579bdf', string.sub(ARGV[i], -1), 1, true)
  local stands = passes and used or text(used + keep_owners)
  if redis.call('ZADD', OWNERS, 'GT', 'CH', stands, ARGV[i] .. ' ' .. ARGV[i + 1]) > 0 then
    tell(ARGV[i], ARGV[i + 1] .. ' ' .. used)
  end
end
if first > 12 then
  local function forget(members)
    if #members > 0 then
      redis.call('ZREM', OWNERS, unpack(members))
    end
  end
  forget(redis.call('ZRANGEBYSCORE', OWNERS, '-inf', text(time - keep_owners), 'LIMIT', 0, 1000))
  forget(redis.call('ZREVRANGE', OWNERS, ARGV[6], text(ARGV[6] + 999)))
  redis.call('PEXPIREAT', OWNERS, text(now + keep_owners))
end

local function parse(value)
  local a, b, c, d, e = string.match(value or '', '^(%d+) (%d+) (%d+) (%-?%d+) ([^%c ]* [^%c]*)$')
  a, b, c, d = whole(a), whole(b), whole(c), whole(d)
  if not (a and b and c and d) or b > time + ahead or c > time + ahead or math.abs(d) > most_switch then
    return 0, 0, 0, 0, '- -', false
  end
  return a, b, c, d, e, true
end
for i = first, #ARGV, 7 do
  local field, rest = ARGV[i], ARGV[i + 5] .. ' ' .. ARGV[i + 6]
  local till, learned, cleared, off = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
  local scoped, floor, _ = #field > 12, 0
  if scoped then
    _, _, floor = parse(redis.call('HGET', KEYS[2], string.sub(field, 1, 12)))
  end
  local known_till, known_learned, known_cleared, known_off, known_rest, known = parse(redis.call('HGET', KEYS[2], field))
  local last = math.max(cleared, known_cleared)
  floor = math.max(floor, last)
  local ends = known_learned > 0 and known_learned <= floor
  if known_learned <= floor then
    known_till, known_learned, known_rest = 0, 0, '- -'
  end
  local later = last > known_cleared and (ends or known_cleared == 0 or last > known_cleared + tolerance)
  local changed = later and (known or not scoped or till > time and learned <= last)
  if learned > floor and till > math.max(known_till + tolerance, time) then
    known_till, known_learned, known_rest, changed = till, learned, rest, true
  end
  if math.abs(off) > math.abs(known_off) or math.abs(off) == math.abs(known_off) and off > known_off then
    known_off, changed = off, true
  end
  if changed then
    local value = string.format('%.0f %.0f %.0f %.0f %s', known_till, known_learned, last, known_off, known_rest)
    local switched = known_off > 0 and time + keep_disabled or known_off < 0 and time + keep_enabled or 0
    redis.call('HSET', KEYS[2], field, value)
    if scoped then
      redis.call('ZADD', KEYS[4], 'GT', text(math.max(known_till, till)), field)
    else
      redis.call('ZADD', KEYS[4], text(math.max(known_till, last > 0 and last + tombstone or 0, switched)), field)
    end
    tell(field, value)
  end
end

if not new and (not top or top[1] and top[1][1] ~= text(last) .. '-0') then
  redis.call('UNLINK', KEYS[3])
end
local nobody, many = string.rep('0', 12), redis.call('HLEN', KEYS[2])
if many == 0 then
  redis.call('HSET', KEYS[2], nobody, '0 0 0 0 - -')
  redis.call('ZADD', KEYS[4], text(time), nobody)
elseif many > 1 and redis.call('HDEL', KEYS[2], nobody) == 1 then
  redis.call('ZREM', KEYS[4], nobody)
end
if #news > 5 then
  local entry = table.concat(news, '\n')
  last, mark = last + #entry + 100, ARGV[1]
  redis.call('XADD', KEYS[3], 'MINID', '~', text(math.max(last - ARGV[2], 0)), text(last) .. '-0', '2', entry)
end
local set = {'version', 2, 'epoch', epoch, 'last', text(last), 'kept', kept, 'mark', mark, 'shift', text(shift), 'fields', redis.call('HLEN', KEYS[2])}
local function put(field, value)
  set[#set + 1] = field
  set[#set + 1] = value
end
put('owners', OWNERS and redis.call('ZCARD', OWNERS) or owners)
if new or math.abs(time - sent) <= tonumber(ARGV[10]) then
  put('time', text(time))
end
if ARGV[9] ~= '' then
  put('filler', ARGV[9] == 'fill' and ARGV[3] .. ' ' .. text(time + 3000) or '')
end
redis.call('HSET', KEYS[1], unpack(set))
local latest = redis.call('ZREVRANGE', KEYS[4], 0, 0, 'WITHSCORES')
local gone = text(math.min(math.max(tonumber(latest[2] or '0') or 0, time) - shift + keep, 9e12))
for i = 1, 4 do
  redis.call('PEXPIREAT', KEYS[i], gone)
end
return (#news - 5) / 2
`)
