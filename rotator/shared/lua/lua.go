package lua

// Try is a function of scripts that reads, and returns nothing where the key is of another type.
// Any other error is the script's own, such as a right that the user does not have: it says
// nothing of what stands there, and nothing must be made anew for it.
const Try = `
local function try(...)
  local got = redis.pcall(...)
  if type(got) ~= 'table' or not got.err then
    return got
  end
  if not string.find(got.err, 'WRONGTYPE', 1, true) then
    return redis.call(...) -- which fails as it did
  end
end
`
