package allowance

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

func pool(t testing.TB) *rotator.Pool {
	t.Helper()
	var keys []rotator.Key
	for _, secret := range testkit.DemoKeys(2) {
		k, err := rotator.NewKey(secret)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	p, err := rotator.NewPool(keys, rotator.NewState(time.Unix(0, 0)), time.Unix(0, 0), rotator.WithTurns())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func header(limit, remaining, reset string) http.Header {
	return http.Header{"X-Ratelimit-Limit-Tokens": {limit}, "X-Ratelimit-Remaining-Tokens": {remaining}, "X-Ratelimit-Reset-Tokens": {reset}}
}

// What an answer states is known of its key, and an answer that states nothing changes nothing.
func TestLearn(t *testing.T) {
	p, now := pool(t), time.Unix(1000, 0)
	Learn(ttl.OpenAI, http.Header{}, now, p, 1, "")
	if st := p.Status(now, 1); st.Stated != nil {
		t.Errorf("%+v", st.Stated)
	}
	Learn(ttl.OpenAI, header("1000", "100", "54s"), now, p, 1, "m")
	Learn(ttl.OpenAI, http.Header{"Content-Type": {"text/plain"}}, now, p, 1, "m")
	if st := p.Status(now.Add(4*time.Second), 1); fmt.Sprint(st.Stated) != "[{m tokens 1000 100 50s}]" {
		t.Errorf("%+v", st.Stated)
	}
	if st := p.Status(now, 0); st.Stated != nil {
		t.Errorf("another key has %+v", st.Stated)
	}
}

// Upstreams state anything.
func TestWildNumbers(t *testing.T) {
	p, now := pool(t), time.Unix(1000, 0)
	Learn(ttl.OpenAI, header("1e300", "1e200", "1e300"), now, p, 0, "")
	if st := p.Status(now, 0); len(st.Stated) != 1 || st.Stated[0].Left != longest || st.Stated[0].Limit <= 0 || st.Stated[0].Remaining > st.Stated[0].Limit {
		t.Errorf("%+v", st.Stated)
	}
	Learn(ttl.OpenAI, header("0.5", "0.1", "1s"), now, p, 0, "")
	if st := p.Status(now, 0); len(st.Stated) != 1 || st.Stated[0].Limit != 1 || st.Stated[0].Remaining != 0 {
		t.Errorf("%+v", st.Stated)
	}
}

// Hardly anything is free that every answer goes through.
func TestLearnAllocations(t *testing.T) {
	p, now, h := pool(t), time.Unix(1000, 0), header("1000", "100", "54s")
	if got := testing.AllocsPerRun(100, func() { Learn(ttl.OpenAI, h, now, p, 0, "gpt-demo") }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkLearn(b *testing.B) {
	p, h := pool(b), header("1000", "100", "54s")
	h["X-Ratelimit-Limit-Requests"], h["X-Ratelimit-Remaining-Requests"], h["X-Ratelimit-Reset-Requests"] = []string{"500"}, []string{"499"}, []string{"120ms"}
	b.ReportAllocs()
	for b.Loop() {
		Learn(ttl.OpenAI, h, time.Unix(1000, 0), p, 0, "")
	}
}
