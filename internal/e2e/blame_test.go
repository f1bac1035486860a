package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// traffic sends ordinary requests, a few at a time, and counts the answers.
type traffic struct {
	served, failed atomic.Int64
	end            func()
}

// startTraffic begins to send. Call end before the counts are held against anything.
func startTraffic(t *testing.T, url string) *traffic {
	const clients = 4
	f, stop, ended := new(traffic), make(chan struct{}), make(chan error, clients)
	for range clients {
		go func() { ended <- f.send(url, stop) }()
	}
	f.end = func() {
		t.Helper()
		close(stop)
		for range clients {
			if err := live.Receive(t, "a client ends", ended); err != nil {
				t.Error(err)
			}
		}
	}
	return f
}

func (f *traffic) send(url string, stop <-chan struct{}) error {
	client := live.Patient(&http.Transport{})
	defer client.CloseIdleConnections()
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		res, err := client.Post(url, "application/json", strings.NewReader(`{"model":"m"}`))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if err != nil {
			return err
		}
		if res.StatusCode == http.StatusOK {
			f.served.Add(1)
		} else {
			f.failed.Add(1)
		}
	}
}

// answered waits until so many more requests have their answers.
func (f *traffic) answered(t *testing.T, more int64) {
	t.Helper()
	all := func() int64 { return f.served.Load() + f.failed.Load() }
	before := all()
	live.Eventually(t, "requests are answered", func() bool { return all() >= before+more })
}

// A request that every key refuses is its client's own affair, and others are served as
// before. internal/simulation has more of this, in a time of its own.
func TestOneOddRequestIsNobodysFault(t *testing.T) {
	const refusal = `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}`
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasPrefix(r.URL.Path, "/v1/organizations") {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, refusal)
			return
		}
		io.WriteString(w, `{"id":"msg_1"}`)
	})
	g := startGateway(t, fmt.Sprintf("keycycler odd {\n keys %s\n provider anthropic\n}\nreverse_proxy %s", demoKeys(5), upstream.URL))
	f := startTraffic(t, g.plain+"/v1/messages")
	f.answered(t, 50)
	for range 3 {
		res, body := live.Do(t, http.DefaultClient, live.Request(t, http.MethodGet, g.plain+"/v1/organizations/users", ""))
		if res.StatusCode != http.StatusUnauthorized || string(body) != refusal {
			t.Errorf("the odd client got %s %q", res.Status, body)
		}
		f.answered(t, 50)
	}
	f.end()
	if n := f.failed.Load(); n > 0 {
		t.Errorf("%d ordinary requests failed, %d were served", n, f.served.Load())
	}
}

// A key that is dead in words that nobody knows is found out by the others.
func TestADeadKeyIsFoundByComparison(t *testing.T) {
	var asked atomic.Int64
	upstream := live.StartProvider(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer sk-demo-secret-1" {
			asked.Add(1)
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error":{"message":"Api key is invalid"}}`)
			return
		}
		io.WriteString(w, "fine")
	})
	g := startGateway(t, fmt.Sprintf("keycycler dead {\n keys %s\n}\nreverse_proxy %s", demoKeys(2), upstream.URL))
	f := startTraffic(t, g.plain+"/v1/chat/completions")
	f.answered(t, 200)
	f.end()
	if n := f.failed.Load(); n > 0 {
		t.Errorf("%d requests failed, %d were served", n, f.served.Load())
	}
	// One call, those that were under way with it, and one in half a minute.
	if n := asked.Load(); n == 0 || n > 6 {
		t.Errorf("the dead key was asked %d times", n)
	}
}
