//go:build unix

package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/rotator/shared/redistest"
)

// What was made through one node is used through another, also after both have
// restarted; Redis sees no id.
func TestNodesShareResources(t *testing.T) {
	t.Parallel()
	redistest.Binary(t)
	server, k := startRedis(t), startKeeper(t)
	config := nodeConfig{keys: 30, state: "redis " + server.Addr(), upstream: k.URL}
	nodes := startNodes(t, 2, config)
	eventually(t, "both nodes listen", func() bool { return server.calls()["xread"] >= 2 })
	a, b := apiClient{t, nodes[0].url}, apiClient{t, nodes[1].url}

	const files = 20
	kept := func() int64 { return server.Client().ZCard(context.Background(), "{keycycler}:owners").Val() }
	var made []string
	for range files {
		made = append(made, a.upload())
	}
	eventually(t, "Redis knows them", func() bool { return kept() == files })
	eventually(t, "the other node knows them", func() bool { return allServed(k, b, made) })
	before := k.misses()
	for _, file := range made {
		if failures := b.use(file); failures != nil {
			t.Fatalf("at the other node the life of a file met %v", failures)
		}
	}
	if n := k.misses() - before; n > 0 {
		t.Errorf("%d requests went out with a foreign key", n)
	}

	stopAll(nodes)
	c := apiClient{t, startNode(t, config).url}
	eventually(t, "a node that starts knows", func() bool { return allServed(k, c, made) })
	for _, text := range server.Client().ZRange(context.Background(), "{keycycler}:owners", 0, -1).Val() {
		if strings.Contains(text, "file-") || strings.Contains(text, "sk-") {
			t.Errorf("Redis holds %q", text)
		}
	}
}

// allServed tells whether requests for the files go out with the keys that made them.
func allServed(k *keeper, c apiClient, files []string) bool {
	before := k.misses()
	for _, file := range files {
		c.json("GET", "/v1/files/"+file, "")
	}
	return k.misses() == before
}
