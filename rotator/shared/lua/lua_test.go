package lua

import (
	"slices"
	"testing"
)

func TestCommands(t *testing.T) {
	source := `
local meta, n = try('HMGET', KEYS[1], 'a', 'XADD'), redis.call('HLEN', KEYS[2])
if redis.pcall('HSET', KEYS[1], 'a', 1) then redis.call('HLEN', KEYS[1]) end
entry('ZADD', 'no command')`
	if got := commands(source); !slices.Equal(got, []string{"hlen", "hmget", "hset"}) {
		t.Errorf("%q", got)
	}
}
