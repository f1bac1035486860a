package shared

import (
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// prompt is how long closing may take: what is left is written within flushTime, and a busy
// machine needs more.
const prompt = flushTime + 7*time.Second

// Closing waits for nobody, whatever Redis does, and leaves nothing behind.
func TestCloseIsPrompt(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		sentence string
		hurt     func(*redistest.Server)
	}{
		{"idle", func(*redistest.Server) {}},
		{"stalled", (*redistest.Server).Stall},
		{"gone", (*redistest.Server).Kill},
		{"full", fill},
	} {
		t.Run(row.sentence, func(t *testing.T) {
			t.Parallel()
			checkLeaks(t)
			server := redistest.Start(t)
			nodes := startAll(t, 2, 5, to(server))
			nodes[0].Cool(0, time.Hour)
			agreeOn(t, nodes, 1)
			row.hurt(server)
			nodes[0].Cool(1, time.Hour)
			leavePromptly(t, nodes)
		})
	}
}

// Nobody answers from the start: connecting hangs.
func TestCloseBeforeConnected(t *testing.T) {
	t.Parallel()
	checkLeaks(t)
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr())
	proxy.Blackhole(true)
	var nodes []*node
	for _, addr := range []string{proxy.Addr(), "127.0.0.1:1", "192.0.2.1:6379"} {
		n := start(t, clientOptions(addr), 5)
		n.Cool(0, time.Hour)
		n.Cool(1, time.Hour)
		nodes = append(nodes, n)
	}
	leavePromptly(t, nodes)
}

// leavePromptly closes them, all at a time.
func leavePromptly(t *testing.T, nodes []*node) {
	t.Helper()
	var leaving sync.WaitGroup
	for i, n := range nodes {
		leaving.Go(func() {
			begin := time.Now()
			n.Leave()
			if took := time.Since(begin); took > prompt {
				t.Errorf("closing node %d took %s", i, took)
			}
		})
	}
	leaving.Wait()
}

// What was learned last reaches the others though the node ends at once.
func TestCloseWritesWhatIsQueued(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	nodes := startAll(t, 2, 2000, func() *redis.UniversalOptions { return patient(to(server)()) }, patiently)
	for s := range rotator.Slot(2000) {
		nodes[0].Cool(s, time.Hour)
	}
	nodes[0].Leave()
	if h := nodes[0].journal.Health(); h.Queue != 0 {
		t.Errorf("%d changes are left", h.Queue)
	}
	agreeOn(t, nodes[1:], 2000)
	if err := nodes[0].journal.client.Ping(t.Context()).Err(); err != redis.ErrClosed {
		t.Errorf("the client is open: %v", err)
	}
}
