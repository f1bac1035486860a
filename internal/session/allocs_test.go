//go:build !race

package session

import (
	"net/http"
	"strings"
	"testing"
)

func TestNothingIsAllocated(t *testing.T) {
	body := []byte(`{"system":"x","messages":[{"role":"user","content":"` + strings.Repeat("word ", 200) + `"}],"metadata":{"user_id":"u"}}`)
	h := http.Header{"X-Session-Id": {"s-1"}}
	if got := testing.AllocsPerRun(100, func() {
		f := NewFinder()
		f.Write(body)
		f.Release()
		Named(h)
	}); got > 0 {
		t.Errorf("%v allocations", got)
	}
}
