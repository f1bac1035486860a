package keycycler

import (
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// The syntax above the parser, what the parser takes, the fixture and the README
// agree.
func TestRedisSyntaxIsDocumented(t *testing.T) {
	read := func(file, from, to string) map[string]string {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, block, ok := strings.Cut(string(content), from)
		block, _, closed := strings.Cut(block, to)
		if !ok || !closed {
			t.Fatalf("%s has no %q", file, from)
		}
		return syntaxOptions("state redis " + strings.ReplaceAll(block, "//", ""))
	}
	documented := read("caddyfile_redis.go", "//\tstate redis ", "func (r *RedisState)")
	readme := read("README.md", "\nstate redis ", "```")
	fixture := read("testdata/adapt/redis_all_options.caddyfiletest", "\tstate redis ", separator)
	maps.Copy(fixture, read("testdata/adapt/redis_cluster.caddyfiletest", "\tstate redis ", separator)) // which excludes others
	if len(documented) != 18 {
		t.Errorf("%d lines are documented: %v", len(documented), documented)
	}
	for name := range documented {
		if readme[name] != documented[name] {
			t.Errorf("README.md says %q about %q, the comment %q", readme[name], name, documented[name])
		}
		if fixture[name] == "" {
			t.Errorf("the fixture has no %q", name)
		}
	}
	for _, block := range []string{"", "tls"} {
		text := "nonsense"
		if block != "" {
			text = block + " {\nnonsense\n}"
		}
		err := new(RedisState).UnmarshalCaddyfile(caddyfile.NewTestDispenser("redis redis.demo {\n" + text + "\n}"))
		_, list, _ := strings.Cut(message(err), "the options are ")
		list, _, ok := strings.Cut(list, ", at ")
		if !ok {
			t.Fatalf("the error lists no options: %v", err)
		}
		for name := range strings.SplitSeq(list, ", ") {
			if path := strings.Join(strings.Fields("state "+block+" "+name), " "); documented[path] == "" {
				t.Errorf("%q is not documented", path)
			}
		}
	}
}
