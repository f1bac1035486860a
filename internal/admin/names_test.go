package admin_test

import (
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/keycycler/keycycler/internal/gateway"
	"github.com/keycycler/keycycler/internal/keyset"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/internal/testkit/adminapi"
	"github.com/keycycler/keycycler/internal/testkit/pools"
	"github.com/keycycler/keycycler/internal/upstream"
	"github.com/keycycler/keycycler/rotator"
)

// namedPool is a pool whose keys have all that people know keys by, and its log.
func namedPool(t *testing.T, name string) *observer.ObservedLogs {
	site, err := upstream.ParseSite("https://east.example.com/v1")
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	file := testkit.WriteFile(t, "openai.keys", "# ours\nsk-demo-1 east\nsk-demo-2\n")
	pools.New(t, 0, func(c *gateway.Config) {
		c.Pool, c.Logger = name, zap.New(core)
		*c.Keys.Groups = append(*c.Keys.Groups,
			keyset.Group{Name: "acme", Rank: rotator.Rank{Tier: 2, Weight: 1}, Place: &keyset.Place{Site: site}, Files: []string{file}},
			keyset.Group{Rank: rotator.Rank{Tier: 1, Weight: 1}, Label: "first", Texts: []string{"sk-demo-0"}})
	})
	return logs
}

func TestKeysHaveWhatPeopleKnowThemBy(t *testing.T) {
	logs := namedPool(t, "names-test")
	for _, row := range []struct{ key, want string }{
		{"sk-demo-0", `","name":"first","tier":1,"origin":"keys: key 1","state":"ready",`},
		{"sk-demo-1", `","name":"east","group":"acme","tier":2,"upstream":"https://east.example.com/v1","origin":"openai.keys:2","state":"ready",`},
		{"sk-demo-2", `","group":"acme","tier":2,"upstream":"https://east.example.com/v1","origin":"openai.keys:3","state":"ready",`},
	} {
		id := testkit.IDOf(row.key)
		for _, call := range []string{"GET /keys", "GET /keys/" + id, "POST /keys/" + id + "/disable", "POST /keys/" + id + "/enable"} {
			method, path, _ := strings.Cut(call, " ")
			status, body := adminapi.Ask(method, "/keycycler/pools/names-test"+path, "")
			if call == "POST /keys/"+id+"/disable" {
				row.want = strings.ReplaceAll(row.want, "ready", "disabled")
			} else {
				row.want = strings.ReplaceAll(row.want, "disabled", "ready")
			}
			if status != 200 || !strings.Contains(body, `"id":"`+id+row.want) {
				t.Errorf("%s: status %d, %s lacks %s", call, status, body, row.want)
			}
			if strings.Contains(body, "sk-demo") {
				t.Errorf("%s shows a key: %s", call, body)
			}
		}
	}
	for _, entry := range logs.FilterMessageSnippet("by an operator").All() {
		name, named := entry.ContextMap()["key_name"]
		want := map[any]string{testkit.IDOf("sk-demo-0"): "first", testkit.IDOf("sk-demo-1"): "east"}[entry.ContextMap()["key_id"]]
		if named != (want != "") || named && name != want {
			t.Errorf("%s: %v", entry.Message, entry.ContextMap())
		}
	}
	if logs.FilterMessageSnippet("by an operator").Len() != 6 {
		t.Errorf("logged %v", logs.All())
	}
}

func TestThePageShowsNames(t *testing.T) {
	namedPool(t, "names-page-test")
	status, body := adminapi.Ask("GET", "/keycycler/?pool=names-page-test", "")
	want := `title="east, https://east.example.com/v1, openai.keys:2, group acme, tier 2">` + testkit.IDOf("sk-demo-1") + ` <span class="name">east</span>`
	if status != 200 || !strings.Contains(body, want) || strings.Contains(body, "sk-demo") {
		t.Errorf("the page lacks %s, or shows a key", want)
	}
}
