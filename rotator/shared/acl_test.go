package shared

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator/keep"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
	"github.com/keycycler/keycycler/rotator/statetest"
)

// Rights besides those of a single server.
var (
	aclCluster  = []string{"+cluster|slots", "+command"}
	aclDatabase = []string{"+select"}
	aclSentinel = strings.Fields("&+switch-master &+replica-reconf-done +client|setname +sentinel|get-master-addr-by-name +sentinel|sentinels +subscribe")
)

// allow makes the user gateway with these rights and no others.
func allow(s *redistest.Server, rules ...[]string) { s.Admit("gateway", "secret", rules...) }

func asGateway(o *redis.UniversalOptions) *redis.UniversalOptions {
	o.Username, o.Password = "gateway", "secret"
	return o
}

// Over TLS with a client certificate, and with no right too many.
func TestConformanceTLSAndACL(t *testing.T) {
	t.Parallel()
	server, secure := redistest.StartTLS(t)
	o := func() *redis.UniversalOptions {
		o := asGateway(clientOptions(server.Addr()))
		o.TLSConfig = secure.Config(t)
		return o
	}
	statetest.Run(t, func(t testing.TB) statetest.Backend {
		server.Do("FLUSHALL")
		allow(server, redistest.Commands, redistest.ClientName, redistest.Keys)
		t.Cleanup(func() {
			if names := server.Denied(); len(names) > 0 {
				t.Errorf("Redis has refused %v", names)
			}
		})
		return backend(o)
	})
	plain := clientOptions(server.Addr())
	plain.TLSConfig = secure.Config(t)
	plain.TLSConfig.Certificates = nil
	n := start(t, asGateway(plain), 1)
	unhealthy(t, []*node{n})
}

// Each right is needed: without it something is refused in an hour of life.
func TestNoRightTooMany(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	o := func() *redis.UniversalOptions { return asGateway(clientOptions(server.Addr())) }
	allow(server, redistest.Commands, redistest.ClientName, redistest.Keys)
	if names := live(t, server, o); len(names) > 0 {
		t.Fatalf("with all rights Redis has refused %v", names)
	}
	for i, right := range slices.Concat(redistest.Commands, redistest.ClientName) {
		rights := slices.Concat(redistest.Commands, redistest.ClientName)
		allow(server, slices.Delete(rights, i, i+1), redistest.Keys)
		server.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		if names := live(t, server, o); !slices.Contains(names, right[1:]) {
			t.Errorf("without %s Redis has refused %v alone", right, names)
		}
	}
	allow(server, redistest.Commands, redistest.ClientName, []string{"~keycycler:*"})
	if names := live(t, server, o); len(names) == 0 {
		t.Error("without the right to its keys nothing was refused")
	}
	allow(server, redistest.Commands, redistest.ClientName, redistest.Keys)
	other := func() *redis.UniversalOptions { o := o(); o.DB = 1; return o }
	if names := live(t, server, other); !slices.Contains(names, "select") {
		t.Errorf("for another database without SELECT Redis has refused %v", names)
	}
	allow(server, redistest.Commands, redistest.ClientName, redistest.Keys, aclDatabase)
	if names := live(t, server, other); len(names) > 0 {
		t.Errorf("for another database Redis has refused %v", names)
	}
}

// A right that is missing says nothing of what stands in Redis: the node tells what it may not
// do, not that something was lost, and makes nothing anew.
func TestAMissingRightIsNoLoss(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a := start(t, clientOptions(server.Addr()), 3)
	a.own(0, 0, 3)
	a.Cool(1, time.Hour)
	counted := countSome(a, server, 0)
	until(t, "it stands in Redis", func() bool { h := a.journal.Health(); return h.Queue == 0 && h.Written > 1 && counted() })
	stands := func() string { return fmt.Sprint(contents(server)) }
	before := stands()
	for i, right := range redistest.Commands {
		if right == "+eval" {
			continue // the scripts are there
		}
		allow(server, slices.Delete(slices.Clone(redistest.Commands), i, i+1), redistest.ClientName, redistest.Keys)
		b := start(t, asGateway(clientOptions(server.Addr())), 3, func(o *Options) {
			o.Mended = func(lost string) { t.Errorf("without %s it says that %s was lost", right, lost) }
		})
		b.Cool(2, time.Hour)
		unhealthy(t, []*node{b})
		b.Leave()
		said := b.turns.list()[0].Err.Error()
		if named := refusal.FindStringSubmatch(said); named == nil || named[1] != right[1:] {
			t.Errorf("without %s it says %s", right, said)
		}
		if right == "+hscan" || right == "+xread" {
			before = stands() // it may write
		} else if now := stands(); now != before {
			t.Errorf("without %s it has changed the data:\n%s\n%s", right, before, now)
		}
	}
}

// contents is what stands in the keys of the default prefix, but for the time that is noted
// there.
func contents(s *redistest.Server) (dumps map[string]any) {
	dumps = make(map[string]any)
	names, _ := s.Do("KEYS", "{keycycler}:*").([]any)
	for _, name := range names {
		dumps[name.(string)] = s.Do("DUMP", name)
	}
	meta, _ := s.Do("HGETALL", "{keycycler}:meta").(map[any]any)
	delete(meta, "time")
	dumps["{keycycler}:meta"] = meta
	return dumps
}

// live does everything that a node ever does, as far as Redis lets it, and returns
// what Redis has refused.
func live(t *testing.T, s *redistest.Server, o func() *redis.UniversalOptions) []string {
	t.Helper()
	s.Do("FLUSHALL")
	s.Do("SCRIPT", "FLUSH")
	if o().DB == 0 {
		s.Do("HSET", "{keycycler}:meta", "fields", 1, "epoch", "1") // to be mended
	}
	a := start(t, o(), 3)
	defer a.Leave()
	nodes := []*node{a}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%+v, refused: %v", a.journal.Health(), refusals(s, nodes))
		}
	})
	settle := func(holds func() bool) bool {
		refused := false
		until(t, "work or a refusal", func() bool {
			refused = len(refusals(s, nodes)) > 0
			return refused || holds()
		})
		return !refused
	}
	idle := func() bool { h := a.journal.Health(); return h.Healthy && h.Queue == 0 && h.Resyncs > 0 }
	a.own(0, 0, 3)
	a.Cool(0, 50*time.Millisecond)
	ok := settle(func() bool {
		return a.Ready() == 3 && idle() && a.journal.Health().Written > 0 && over(s, o().DB)
	})
	before := a.journal.Health().Written
	a.Cool(1, time.Hour) // and the first is forgotten
	ok = ok && settle(func() bool { return idle() && a.journal.Health().Written > before })
	stands := countSome(a, s, o().DB)
	ok = ok && settle(func() bool { return idle() && stands() })
	if ok {
		b := start(t, o(), 3)
		defer b.Leave()
		nodes = append(nodes, b)
		settle(func() bool { return b.Left(1) != 0 })
		a.Cool(2, time.Hour)
		settle(func() bool { return b.Left(2) != 0 })
	}
	return refusals(s, nodes)
}

var refusal = regexp.MustCompile(`no permissions to run the '([^']+)' command`)

// refusals returns what was refused: commands that stand alone are in Redis' own log, those of
// scripts in what the nodes say.
func refusals(s *redistest.Server, nodes []*node) (names []string) {
	names = s.Denied()
	for _, n := range nodes {
		if said := refusal.FindStringSubmatch(fmt.Sprint(n.journal.Health().Err)); said != nil {
			names = append(names, said[1])
		}
	}
	return names
}

// countSome makes the node count something, and reports whether it stands in the database.
func countSome(a *node, s *redistest.Server, db int) (stands func() bool) {
	c := new(statetest.Counter)
	for _, span := range spansNow() {
		c.Count(span, "cada", keep.Counts{1})
	}
	name := a.journal.spanName(spansNow()[1])
	a.journal.Keeper().Keep(keep.NewBook("main", c))
	return func() bool {
		conn := s.Client().Conn()
		defer conn.Close()
		ctx := context.Background()
		conn.Select(ctx, db)
		defer conn.Select(ctx, 0)
		return conn.Exists(ctx, name).Val() == 1
	}
}

// over reports whether all that Redis knows in the database has ended, by its own
// clock.
func over(s *redistest.Server, db int) bool {
	ctx := context.Background()
	conn := s.Client().Conn()
	defer conn.Close()
	conn.Select(ctx, db)
	defer conn.Select(ctx, 0)
	for _, z := range conn.ZRangeWithScores(ctx, namesFor(defaultPrefix).deadlines, 0, -1).Val() {
		if conn.Time(ctx).Val().UnixMilli() <= int64(z.Score) {
			return false
		}
	}
	return true
}

// What a cluster's client asks in addition.
func TestClusterACL(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	for _, s := range cluster.Servers {
		allow(s, redistest.Commands, redistest.ClientName, redistest.Keys, aclCluster)
	}
	o := func() *redis.UniversalOptions { return asGateway(clientOptions(cluster.Addrs()...)) }
	nodes := startAll(t, 2, faultKeys, o, impatient)
	coolSome(t, nodes)
	for _, s := range cluster.Servers {
		if names := s.Denied(); len(names) > 0 {
			t.Errorf("Redis has refused %v", names)
		}
		allow(s, redistest.Commands, redistest.ClientName, redistest.Keys)
	}
	n := start(t, o(), 1)
	unhealthy(t, []*node{n})
}

// What a client asks sentinels; the rights at the master are those of a single
// server.
func TestSentinelACL(t *testing.T) {
	t.Parallel()
	group := redistest.StartSentinels(t)
	for _, s := range group.Sentinels {
		allow(s, aclSentinel)
	}
	for _, s := range group.Servers {
		allow(s, redistest.Commands, redistest.ClientName, redistest.Keys)
	}
	o := func() *redis.UniversalOptions {
		o := asGateway(clientOptions(group.Addrs()...))
		o.MasterName, o.SentinelUsername, o.SentinelPassword = redistest.MasterName, "gateway", "secret"
		return o
	}
	t.Cleanup(func() {
		for _, s := range slices.Concat(group.Servers, group.Sentinels) {
			if names := s.Denied(); len(names) > 0 {
				t.Errorf("%s has refused %v", s.Addr(), names)
			}
		}
	})
	nodes := startAll(t, 2, faultKeys, o, impatient)
	coolSome(t, nodes)
	for _, s := range slices.Concat(group.Servers, group.Sentinels) {
		if names := s.Denied(); len(names) > 0 {
			t.Errorf("%s has refused %v", s.Addr(), names)
		}
	}
}

// The page tells to make the user with the rights that are tried here.
func TestThePageHasTheRights(t *testing.T) {
	page, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string][]string{
		"\nACL SETUSER keycycler on >password ": slices.Concat(redistest.Keys, redistest.Commands, redistest.ClientName),
		"\n- with `db`, also `":                 aclDatabase,
		"\n- in a cluster, also `":              aclCluster,
		"these:\n\n```text\n":                   aclSentinel,
	} {
		_, line, found := strings.Cut(string(page), what)
		line, _, _ = strings.Cut(line, "\n")
		line, _, _ = strings.Cut(line, "`")
		if got := strings.Fields(line); !found || !slices.Equal(got, want) {
			t.Errorf("the page has %q, want %q", got, want)
		}
	}
}
