//go:build unix

package nodes

import (
	"strconv"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// redisServer is a Redis process of this test's own.
type redisServer struct {
	*redistest.Server
	t testing.TB
}

// startRedis runs a Redis that keeps nothing on disk, with further lines of config.
func startRedis(t testing.TB, config ...string) *redisServer {
	t.Helper()
	return &redisServer{redistest.Start(t, config...), t}
}

// cooling returns how many keys the gateways' hash has.
func (s *redisServer) cooling() int {
	n, _ := s.Client().HLen(s.t.Context(), "{keycycler}:state").Result()
	return int(n)
}

// connections returns how many connections the gateways hold.
func (s *redisServer) connections() int {
	s.t.Helper()
	list, _ := s.Do("CLIENT", "LIST").(string)
	return strings.Count(list, "name=keycycler")
}

// listening returns how many gateways wait for news: only they do so.
func (s *redisServer) listening() int {
	s.t.Helper()
	_, rest, _ := strings.Cut(s.Info("clients"), "blocked_clients:")
	count, _, _ := strings.Cut(rest, "\r\n")
	n, err := strconv.Atoi(count)
	if err != nil {
		s.t.Fatalf("Redis says that %q clients wait", count)
	}
	return n
}

// calls returns how often each command was called.
func (s *redisServer) calls() map[string]int {
	s.t.Helper()
	calls := make(map[string]int)
	for line := range strings.Lines(s.Info("commandstats")) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		count, _, _ := strings.Cut(rest, ",")
		if n, err := strconv.Atoi(count); ok && err == nil {
			calls[name] = n
		}
	}
	return calls
}
