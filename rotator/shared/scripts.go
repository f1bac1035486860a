package shared

import "github.com/redis/go-redis/v9"

// sound tells whether what stands in Redis can be believed: not all fields may be
// there (something was evicted, or deleted by hand), and where Redis' clock was set
// back, or a replica whose clock is behind has taken over, all deadlines are wrong.
// Where somebody else has written into it, even things of another type, it is not
// sound either, and is made anew: otherwise nodes could not share until it expires.
const sound = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local meta = redis.pcall('HMGET', KEYS[1], 'epoch', 'last', 'fields', 'time')
local sound = not meta.err and redis.pcall('HLEN', KEYS[2]) == tonumber(meta[3] or '0') and now >= (tonumber(meta[4] or '0') or math.huge) - 1000
`

// look tells where the data stands: time, whether it is sound, epoch and the
// stream's last entry, at one instant.
//
//	KEYS: meta, state
var look = redis.NewScript(sound + `
return {t[1], t[2], sound and '1' or '0', sound and meta[1] or '', sound and meta[2] or '0-0'}
`)

// save joins changes with what is known, tells the others what is news, and
// forgets what is over. Of two clearings the later counts, and of the cooldowns
// that were learned after it the later deadline, as in rotator.State.Learn; less
// than a tenth of a second is the network's doing and no news. Of two switches the
// one of larger magnitude counts, as in rotator.Switch.
//
// A field that is longer than an id is that of a scope. The clearing in the id's own
// field counts there, too. A clearing in a scope is kept for as long as what it ended
// would have lasted, which the sender says by a deadline that is void, and no longer:
// it is no news where nothing is known and that is over, or not said.
//
// All times are Redis' own. The sender says what he takes it for: if he is wrong,
// either Redis' clock has been set, or the command has been on its way for longer
// than he has waited. Then nothing is written and the reply is -1.
//
// Of owners each is kept that was used later than is known: two keys may both say
// that a resource is theirs. The owners are no part of what must be sound: they say
// nothing that a process could not do without. Lasting ones stand as if they were used
// keep_owners later: so those that pass, whose last digit is odd, go first.
//
// While a cluster moves the slot it creates no key there, and refuses a script that names
// one that is not there beside others that are. So hash and deadlines are never emptied:
// the last field stays though it is over, and where there was none one is made that is.
//
//	KEYS: meta, state, log, deadlines, and owners where some follow
//	ARGV: epoch for new data, length of the log, node, now, how wrong that may be in ms,
//	      how many owners are kept, how many follow, for each: resource, key, use,
//	      then for each change: field, until, learned, cleared, switch, reason, source; 0 is never
var save = redis.NewScript(sound + `
local tolerance, keep, tombstone = 100, 3600000, 86400000
local keep_disabled, keep_enabled, keep_owners = 31536000000, 2592000000, 2592000000
if math.abs(now - ARGV[4]) > tonumber(ARGV[5]) then
  return -1
end
if not sound then
  redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
  meta = {}
end

local over = redis.pcall('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, 1000)
if over.err then
  redis.call('UNLINK', KEYS[4])
  over = {}
end
if #over == redis.call('HLEN', KEYS[2]) then
  table.remove(over)
end
if #over > 0 then
  redis.call('HDEL', KEYS[2], unpack(over))
  redis.call('ZREM', KEYS[4], unpack(over))
end

local news = {}
local first = 8 + 3 * ARGV[7]
for i = 8, first - 1, 3 do
  local used = string.format('%.0f', math.min(tonumber(ARGV[i + 2]), now))
  local passes = string.find('13579bdf', string.sub(ARGV[i], -1), 1, true)
  local stands = passes and used or string.format('%.0f', used + keep_owners)
  if redis.call('ZADD', KEYS[5], 'GT', 'CH', stands, ARGV[i] .. ' ' .. ARGV[i + 1]) > 0 then
    news[#news + 1] = ARGV[i]
    news[#news + 1] = ARGV[i + 1] .. ' ' .. used
  end
end
if first > 8 then
  local function forget(members)
    if #members > 0 then
      redis.call('ZREM', KEYS[5], unpack(members))
    end
  end
  forget(redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', now - keep_owners, 'LIMIT', 0, 1000))
  forget(redis.call('ZREVRANGE', KEYS[5], ARGV[6], ARGV[6] + 999))
  redis.call('PEXPIREAT', KEYS[5], string.format('%.0f', now + keep_owners))
end
for i = first, #ARGV, 7 do
  local field, rest = ARGV[i], ARGV[i + 5] .. ' ' .. ARGV[i + 6]
  local till, learned, cleared, off = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
  local known_till, known_learned, known_cleared, known_off, known_rest = 0, 0, 0, 0, '- -'
  local scoped, floor = #field > 12, 0
  if scoped then
    local whole = redis.call('HGET', KEYS[2], string.sub(field, 1, 12)) or ''
    floor = tonumber(string.match(whole, '^%d+ %d+ (%d+) ') or '0')
  end
  local a, b, c, d, e = string.match(redis.call('HGET', KEYS[2], field) or '', '^(%d+) (%d+) (%d+) (%-?%d+) (.*)$')
  if a then
    known_till, known_learned, known_cleared, known_off, known_rest = tonumber(a), tonumber(b), tonumber(c), tonumber(d), e
  end
  local last = math.max(cleared, known_cleared)
  floor = math.max(floor, last)
  if known_learned <= floor then
    known_till, known_learned, known_rest = 0, 0, '- -'
  end
  local changed = last > known_cleared and (a or not scoped or till > now and learned <= last)
  if learned > floor and till > math.max(known_till + tolerance, now) then
    known_till, known_learned, known_rest, changed = till, learned, rest, true
  end
  if math.abs(off) > math.abs(known_off) or math.abs(off) == math.abs(known_off) and off > known_off then
    known_off, changed = off, true
  end
  if changed then
    local value = string.format('%.0f %.0f %.0f %.0f %s', known_till, known_learned, last, known_off, known_rest)
    local switched = known_off > 0 and now + keep_disabled or known_off < 0 and now + keep_enabled or 0
    redis.call('HSET', KEYS[2], field, value)
    if scoped then
      redis.call('ZADD', KEYS[4], 'GT', string.format('%.0f', math.max(known_till, till)), field)
    else
      redis.call('ZADD', KEYS[4], string.format('%.0f', math.max(known_till, last > 0 and last + tombstone or 0, switched)), field)
    end
    news[#news + 1] = field
    news[#news + 1] = value
  end
end

if #news > 0 then
  local last = redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'p', meta[2] or '0-0', 'n', ARGV[3], unpack(news))
  redis.call('HSET', KEYS[1], 'epoch', meta[1] or ARGV[1], 'last', last)
end
local nobody, fields = string.rep('0', 12), redis.call('HLEN', KEYS[2])
if fields == 0 then
  redis.call('HSET', KEYS[2], nobody, '0 0 0 0 - -')
  redis.call('ZADD', KEYS[4], string.format('%.0f', now), nobody)
elseif fields > 1 and redis.call('HDEL', KEYS[2], nobody) == 1 then
  redis.call('ZREM', KEYS[4], nobody)
end
redis.call('HSET', KEYS[1], 'fields', redis.call('HLEN', KEYS[2]), 'time', string.format('%.0f', now))
local latest = redis.call('ZREVRANGE', KEYS[4], 0, 0, 'WITHSCORES')
local gone = string.format('%.0f', math.min(math.max(tonumber(latest[2] or '0') or 0, now) + keep, 9e12))
for i = 1, 4 do
  redis.call('PEXPIREAT', KEYS[i], gone)
end
return #news / 2
`)
