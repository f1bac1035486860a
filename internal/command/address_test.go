package command

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

func TestParseAddress(t *testing.T) {
	for _, row := range []struct {
		text string
		want endpoint // "": an error
	}{
		{"localhost:2019", "localhost:2019"}, {"127.0.0.1:2020", "127.0.0.1:2020"}, {"[::1]:2019", "[::1]:2019"}, {"gateway", "gateway:2019"}, {"::1", "[::1]:2019"},
		{":2019", "localhost:2019"}, {"2019", "localhost:2019"}, {"0.0.0.0:2019", "localhost:2019"}, {"[::]:2019", "localhost:2019"}, {"tcp/:2019", "localhost:2019"},
		{"tcp/10.0.0.1:2019", "10.0.0.1:2019"}, {"tcp4/localhost:2019", "tcp4/localhost:2019"}, {" localhost:2019\n", "localhost:2019"},
		{"http://localhost:2019", "localhost:2019"}, {"http://localhost:2019/", "localhost:2019"}, {"http://:2019", "localhost:2019"}, {"HTTP://gateway:80/keycycler/pools?x=1", "gateway:80"},
		{"http://gateway", "gateway:2019"}, {"localhost:2019/", "localhost:2019"}, {"[::1]:2019/", "[::1]:2019"}, {":2019/", "localhost:2019"}, {"localhost:2019//", ""}, {"localhost:2019/x", ""}, {"http://[::1]:2019", "[::1]:2019"},
		{"unix//run/caddy/admin.sock", "unix//run/caddy/admin.sock"}, {"unix//run/admin.sock|0220", "unix//run/admin.sock|0220"}, {"unix/admin.sock", "unix/admin.sock"},
		{"unix+h2c//run/admin.sock", "unix//run/admin.sock"}, {"unix:///run/admin.sock", "unix//run/admin.sock"}, {"unix:/run/admin.sock", "unix//run/admin.sock"},
		{"/run/admin.sock", "unix//run/admin.sock"}, {"unix/@caddy", "unix/@caddy"},
		{"", ""}, {"https://localhost:2019", ""}, {"http://", ""}, {"http://me:secret@localhost:2019", ""}, {"ftp://localhost", ""}, {"tcp/:1-9", ""}, {":0", ""}, {"localhost:", "localhost:2019"},
		{"localhost:port", ""}, {"udp/localhost:2019", ""}, {"unix/", ""}, {"a b:2019", ""}, {"me@gateway:2019", ""}, {"fd/3", ""},
	} {
		got, err := parseAddress(row.text)
		if got != row.want || (err != nil) != (row.want == "") {
			t.Errorf("%q: %q, %v, want %q", row.text, got, err, row.want)
		}
	}
}

// An address that is none is wrong usage, and not repeated.
func TestCommandRefusesAddresses(t *testing.T) {
	for address, says := range map[string]string{
		"tcp/:1-9":           "--address: one port is needed, not several",
		"https://gateway":    "--address: the admin endpoint speaks plain HTTP: write http://, or <host>:<port>",
		"http://me:sk-1@foo": "--address: it must be <host>:<port>, :<port>, http://<host>:<port> or unix//<path of the socket>",
	} {
		for _, args := range []string{"list", "list --json", "show 000000000001", "disable 000000000001", "cool --all --for 1s"} {
			r := runCLI("", append(strings.Fields(args), "--address", address)...)
			if r.code != 2 || r.out != "" || !strings.HasPrefix(r.errors, "Error: "+says+"\n") {
				t.Errorf("%s: %s: exit code %d, %s%s", address, args, r.code, r.errors, r.out)
			}
		}
	}
}

// All spellings reach the same gateway.
func TestCommandReachesTheAddress(t *testing.T) {
	a := twoPools()
	address := a.start(t)
	_, port, _ := net.SplitHostPort(address)
	socket := filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(a)
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	for _, spelling := range []string{
		address, "http://" + address, "http://" + address + "/", "http://localhost:" + port, ":" + port, port, "0.0.0.0:" + port, "tcp/" + address,
		"unix/" + socket, "unix/" + socket + "|0222", "unix://" + socket, socket,
	} {
		if got := runAt(t, spelling, "list"); !strings.Contains(got, "main: openai, 2 keys") {
			t.Errorf("%s: %s", spelling, got)
		}
	}
}

// An endpoint that wants an origin is told the address, and others are told none: they would
// refuse one that they do not know.
func TestCommandTellsItsOrigin(t *testing.T) {
	a := twoPools()
	for _, enforces := range []bool{true, false} {
		var told []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			told = append(told, r.Header.Get("Origin"))
			if known := r.Header.Get("Origin") == "http://"+r.Host; enforces && !known || !enforces && r.Header.Get("Origin") != "" {
				refusing(w, 403, "client is not allowed to access from origin '"+r.Header.Get("Origin")+"'")
				return
			}
			a.ServeHTTP(w, r)
		}))
		address := strings.TrimPrefix(server.URL, "http://")
		runAt(t, address, "cool", fakeID(1), "--for", "10m")
		if server.Close(); (strings.Join(told, "") != "") != enforces {
			t.Errorf("enforced %t: it tells %q", enforces, told)
		}
	}
	if len(a.calls) != 2 || !strings.HasSuffix(a.calls[0], `{"seconds":600}`) || a.calls[0] != a.calls[1] {
		t.Errorf("calls: %q", a.calls)
	}
	if r := runCLI("", "list", "--address", "127.0.0.1:"+live.FreePort(t)); r.code != 1 {
		t.Errorf("where nobody is: exit code %d, %s", r.code, r.errors)
	}
}
