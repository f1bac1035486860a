package shared

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator/shared/redistest"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// backend starts processes that share a journal.
func backend(o func() *redis.UniversalOptions, edit ...func(*Options)) statetest.Backend {
	return func(t testing.TB) statetest.Node {
		n, _, _ := open(t, redis.NewUniversalClient(o()), edit...)
		return n
	}
}

// prefixed gives each backend a prefix of its own in the same Redis.
func prefixed(o func() *redis.UniversalOptions) func(testing.TB) statetest.Backend {
	return func(t testing.TB) statetest.Backend {
		name := t.Name()
		return backend(o, func(o *Options) { o.Prefix = name })
	}
}

func TestConformanceMiniredis(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	statetest.Run(t, prefixed(func() *redis.UniversalOptions { return clientOptions(server.Addr()) }))
}

func TestConformanceRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	statetest.Run(t, prefixed(func() *redis.UniversalOptions { return clientOptions(server.Addr()) }))
}

func TestConformanceCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	statetest.Run(t, prefixed(func() *redis.UniversalOptions { return clientOptions(cluster.Addrs()...) }))
}
