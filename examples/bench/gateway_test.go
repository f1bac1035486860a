package main

import (
	"os"
	"strings"
	"testing"
)

func TestConfigsDifferInNothingButTheHandler(t *testing.T) {
	bare := gatewayConfig{upstream: "localhost:9"}
	cycler := gatewayConfig{upstream: "localhost:9", keycycler: true, keysFile: "demo.keys", options: "max_attempts 3", redis: "localhost:8"}
	static := "\t\theader_up Authorization \"Bearer sk-demo-1\"\n"
	pool := "\tkeycycler bench {\n\t\tkeys_file demo.keys\n\t\tmax_attempts 3\n\t\tstate redis localhost:8\n\t}\n"
	a, b := bare.caddyfile("localhost:1", "localhost:2", "localhost:3"), cycler.caddyfile("localhost:1", "localhost:2", "localhost:3")
	if !strings.Contains(a, static) || !strings.Contains(b, pool) {
		t.Fatalf("bare Caddy is\n%s\nand keycycler\n%s", a, b)
	}
	if a, b = strings.Replace(a, static, "", 1), strings.Replace(b, pool, "", 1); a != b {
		t.Errorf("besides, bare Caddy is\n%s\nand keycycler\n%s", a, b)
	}
}

func TestBallastIsASiteThatNobodyAsks(t *testing.T) {
	c := gatewayConfig{upstream: "localhost:9", spareFile: "demo.keys"}
	text := c.caddyfile("localhost:1", "localhost:2", "localhost:3")
	asked, spare, found := strings.Cut(text, "http://localhost:3 {")
	if !found || strings.Contains(asked, "keycycler") || !strings.Contains(spare, "keys_file demo.keys") {
		t.Errorf("it is\n%s", text)
	}
}

func TestWriteKeys(t *testing.T) {
	path, err := writeKeys(t.TempDir(), keyPrefix, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if want := "sk-demo-limited-1\nsk-demo-2\nsk-demo-3\n"; err != nil || string(text) != want {
		t.Errorf("%q, %v, want %q", text, err, want)
	}
}
