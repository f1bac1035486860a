package redistest

import (
	"slices"
	"strings"
)

// The rights of the user that docs/cluster.md tells to make. AUTH and HELLO need none.
var (
	Commands = strings.Fields(`+evalsha +eval +xread +hscan
		+time +hmget +hlen +hget +hset +hdel +zadd +zcard +zrem +zrangebyscore +zrevrange +xadd +xrevrange +unlink +pexpireat`)
	ClientName = []string{"+client|setname"}
	Keys       = []string{"~{keycycler}:*"}
)

// Admit makes a user with these rules and no others.
func (s *Server) Admit(user, password string, rules ...[]string) {
	s.t.Helper()
	args := []any{"ACL", "SETUSER", user, "reset", "on", ">" + password}
	for _, rule := range slices.Concat(rules...) {
		args = append(args, rule)
	}
	s.Do(args...)
	s.Do("ACL", "LOG", "RESET")
}

// Denied returns which commands, keys and channels the server has refused since the last user
// was admitted.
func (s *Server) Denied() (names []string) {
	s.t.Helper()
	log, _ := s.Do("ACL", "LOG").([]any)
	for _, entry := range log {
		if m, ok := entry.(map[any]any); ok && m["reason"] != "auth" {
			names = append(names, m["object"].(string))
		}
	}
	return names
}
