// Package lua has scripts that Redis runs: how limits are divided among nodes, and what answers
// have used is counted. Each says its keys, arguments and reply.
//
// It knows Redis alone. Scripts of limits and usage go here, and what all scripts need; those of
// cooldowns stand in rotator/shared beside what they are told.
package lua

// Divide answers what a node asks for of limits, as statetest.Ledger does: a node gets what
// it wants, as far as the others have left it and no node that has less goes without. What
// it says that it holds it has, whatever stands here: so what was lost is found again.
//
// The parts of a limit that is too small for spares may be a bit more than it: see
// statetest.Ledger.
//
// Where everything is lost, or Redis' clock was set, or nobody was there for half a term,
// nobody gets more than he holds for a term (hold): not all have said yet what that is. That
// does not go for nodes that are new when everything is.
//
// A part counts for its node's term, and then for the length of the window. It names the
// call that has made it: an older one, which a network has kept, changes nothing.
//
// What a node has used that leaves is a part of nobody, "g<number>", with what others leave
// that leaves the window at the same time.
//
// Times are in ms by Redis' clock, which no other node needs to know: each says only for how
// long a lease is. What no node can have written is nothing.
//
//	KEYS: leases, lapses
//	ARGV: the epoch that the node knows, or nothing; a name that nothing else has, for new data; node; number of the call; the term in ms;
//	      "beat", "leave" or nothing; then for each limit: name, most, length of its window in ms, what is wanted, what is held,
//	      and what a node that leaves has used: "<n> <in how many ms that leaves the window>;"…, or "exact", or nothing
//	reply: epoch, nodes, "frozen" or nothing; then for each limit: its ceiling, or -1, its level, and how much others have not got
var Divide = New(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local known, node, call, term = ARGV[1], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local most_nodes, most_text, keep = 10000, 1000000, 3600000
local function text(n)
  return string.format('%.0f', n)
end
local function number(digits)
  return #digits <= 17 and tonumber(digits) or 9e15
end
local meta = try('HGET', KEYS[1], 'meta')
local epoch, born, seen, nodes, hold
if type(meta) == 'string' and #meta < 200 then
  epoch, born, seen, nodes, hold = string.match(meta, '^(%w+) (%d+) (%d+) (%d+) (%d+)$')
end
if epoch then
  born, seen, nodes, hold = number(born), number(seen), math.max(math.min(number(nodes), most_nodes), 1), number(hold)
end
if not epoch then
  redis.call('UNLINK', KEYS[1], KEYS[2])
  epoch, born, nodes, hold = ARGV[2], now, 1, known ~= '' and now + term or 0
elseif known ~= '' and known ~= epoch then
  hold = math.max(hold, born + term)
elseif known ~= '' and math.abs(now - seen) > term / 2 then
  hold = now + term
end
born, hold = math.min(born, now), math.min(hold, now + term)
local dues = try('ZCARD', KEYS[2])
if type(dues) ~= 'number' then
  redis.call('UNLINK', KEYS[2])
end

local function value(name)
  local v = redis.call('HGET', KEYS[1], name)
  return v and #v <= most_text and v or ''
end

if ARGV[6] ~= '' then
  local here = {}
  for who, till in string.gmatch(value('nodes'), '(%w+) (%d+);') do
    till = math.min(number(till), now + term)
    if who ~= node and #who <= 40 and till > now and #here < most_nodes then
      here[#here + 1] = who .. ' ' .. text(till) .. ';'
    end
  end
  if ARGV[6] == 'beat' then
    here[#here + 1] = node .. ' ' .. text(now + term) .. ';'
  end
  nodes = math.max(#here, 1)
  redis.call('HSET', KEYS[1], 'nodes', table.concat(here))
  redis.call('ZADD', KEYS[2], text(now + 10 * term), 'nodes')
  local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', text(now), 'LIMIT', 0, 1000)
  if #over > 0 then
    redis.call('HDEL', KEYS[1], unpack(over))
    redis.call('ZREM', KEYS[2], unpack(over))
  end
end

local function levelOf(want, total, room, most)
  if total <= room then
    return most
  end
  table.sort(want)
  for i, w in ipairs(want) do
    local share = math.floor(room / (#want - i + 1))
    if w > share then
      return math.max(share, 1)
    end
    room = room - w
  end
  return most
end

local function leave(parts, width, n, left)
  local number_of = math.floor((now + left + width) / width)
  local who, till = 'g' .. text(number_of), number_of * width
  for i, part in ipairs(parts) do
    local name, has = string.match(part, '^(%w+) (%d+) ')
    if name == who then
      n = text(number(has) + n)
      parts[i] = who .. ' ' .. n .. ' ' .. n .. ' ' .. text(till) .. ' 0;'
      return till
    end
  end
  parts[#parts + 1] = who .. ' ' .. text(n) .. ' ' .. text(n) .. ' ' .. text(till) .. ' 0;'
  return till
end

local reply = {epoch, text(nodes), hold > now and 'frozen' or ''}
for i = 7, #ARGV, 6 do
  local name, most, per, wanted, held = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
  local base = math.floor(most / 20) >= nodes and math.max(math.floor(most / (25 * nodes)), 1) or 0
  local parts, want, total, sum, latest, late = {}, {wanted}, wanted, 0, 0, false
  for who, ceiling, wants, till, number_of in string.gmatch(value(name), '(%w+) (%d+) (%d+) (%d+) (%d+);') do
    local ends = number(till)
    if ends > now + term + per then
      ends = now + term + per
      till = text(ends)
    end
    if who == node then
      late = late or number(number_of) > call
    elseif ends > now and #who <= 40 then
      parts[#parts + 1] = who .. ' ' .. ceiling .. ' ' .. wants .. ' ' .. till .. ' ' .. number_of .. ';'
      local has = math.min(number(ceiling), most)
      local likes = ends - per <= now and has or math.min(number(wants), most)
      sum, want[#want + 1], total, latest = sum + math.max(has, base), likes, total + likes, math.max(latest, ends)
    end
  end
  if late then
    reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = '-1', '0', '0'
  else
    local room = most - base * math.max(nodes - 1 - #parts, 0)
    if base == 0 and ARGV[i + 5] == '' then
      room = room + math.min(math.floor(2 * math.min(#parts + 1, nodes) / 3), math.floor(most / 8))
    end
    local ceiling, level = held, levelOf(want, total, room, most)
    if hold <= now and ARGV[6] ~= 'leave' then
      ceiling = math.max(held, math.min(wanted, level, room - sum))
    end
    local tail = false
    for n, left in string.gmatch(ARGV[i + 5], '(%d+) (%d+);') do
      latest, tail = math.max(latest, leave(parts, math.max(math.floor(per / 32), 1), tonumber(n), tonumber(left))), true
    end
    if not tail and (ceiling > 0 or wanted > 0) then
      local till = now + per + (ARGV[6] == 'leave' and 0 or term)
      parts[#parts + 1], latest = node .. ' ' .. text(ceiling) .. ' ' .. text(wanted) .. ' ' .. text(till) .. ' ' .. text(call) .. ';', math.max(latest, till)
    end
    if #parts > 0 then
      redis.call('HSET', KEYS[1], name, table.concat(parts))
      redis.call('ZADD', KEYS[2], text(latest), name)
    else
      redis.call('HDEL', KEYS[1], name)
      redis.call('ZREM', KEYS[2], name)
    end
    reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = text(ceiling), text(level), text(math.max(most - sum, 0))
  end
end

redis.call('HSET', KEYS[1], 'meta', epoch .. ' ' .. text(born) .. ' ' .. text(now) .. ' ' .. text(nodes) .. ' ' .. text(hold))
local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local gone = text(math.min(math.max(tonumber(last[2] or '0') or 0, now) + keep, 9e12))
redis.call('PEXPIREAT', KEYS[1], gone)
redis.call('PEXPIREAT', KEYS[2], gone)
return reply
`)
