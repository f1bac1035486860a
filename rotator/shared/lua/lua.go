package lua

import (
	"regexp"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// New returns a script. It may use try, a function that reads: it returns nothing where the
// key is of another type. Any other error of it is the script's own, such as a cluster's: it
// says nothing of what stands there, and nothing must be made anew for it.
//
// Where the user lacks the right to one of the script's commands, nothing is done, and the
// error names the command: Redis itself would break the script off there, half done, and not
// say where. Redis before 7.0 does so.
func New(source string) *redis.Script {
	return redis.NewScript(`
if redis.acl_check_cmd then
  for _, command in ipairs({'` + strings.Join(commands(source), `', '`) + `'}) do
    if not redis.acl_check_cmd(command, KEYS[1]) then
      return redis.error_reply("NOPERM this user has no permissions to run the '" .. command .. "' command")
    end
  end
end
` + try + source)
}

const try = `
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

var call = regexp.MustCompile(`\b(?:redis\.p?call|try)\('([A-Z]+)'`)

// commands returns the names of those that a script may run, in lower case.
func commands(source string) (names []string) {
	for _, found := range call.FindAllStringSubmatch(source, -1) {
		names = append(names, strings.ToLower(found[1]))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
