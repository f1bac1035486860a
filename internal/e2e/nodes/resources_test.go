//go:build unix

package nodes

import (
	"context"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// What was made through one node is used through another, also after both have
// restarted; Redis sees no id.
func TestNodesShareResources(t *testing.T) {
	t.Parallel()
	redistest.Binary(t)
	server, k := startRedis(t), live.StartKeeper(t)
	config := nodeConfig{keys: 30, state: "redis " + server.Addr(), upstream: k.URL}
	nodes := startNodes(t, 2, config)
	live.Eventually(t, "both nodes listen", func() bool { return server.listening() == 2 })
	a, b := live.APIClient{T: t, URL: nodes[0].url}, live.APIClient{T: t, URL: nodes[1].url}

	const files = 20
	kept := func() int64 { return server.Client().ZCard(context.Background(), "{keycycler}:owners").Val() }
	var made []string
	for range files {
		made = append(made, a.Upload())
	}
	live.Eventually(t, "Redis knows them", func() bool { return kept() == files })
	live.Eventually(t, "the other node knows them", func() bool { return allServed(k, b, made) })
	before := k.Misses()
	for _, file := range made {
		if failures := b.Use(file); failures != nil {
			t.Fatalf("at the other node the life of a file met %v", failures)
		}
	}
	if n := k.Misses() - before; n > 0 {
		t.Errorf("%d requests went out with a foreign key", n)
	}

	stopAll(nodes)
	c := live.APIClient{T: t, URL: startNode(t, config).url}
	live.Eventually(t, "a node that starts knows", func() bool { return allServed(k, c, made) })
	for _, text := range server.Client().ZRange(context.Background(), "{keycycler}:owners", 0, -1).Val() {
		if strings.Contains(text, "file-") || strings.Contains(text, "sk-") {
			t.Errorf("Redis holds %q", text)
		}
	}
}

// allServed tells whether requests for the files go out with the keys that made them.
func allServed(k *live.Keeper, c live.APIClient, files []string) bool {
	before := k.Misses()
	for _, file := range files {
		c.JSON("GET", "/v1/files/"+file, "")
	}
	return k.Misses() == before
}
