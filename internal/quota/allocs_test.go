//go:build !race

package quota

import (
	"net/http"
	"testing"
)

// A request of a client with limits takes one allocation.
func TestStayAllocates(t *testing.T) {
	book, p, names := manyClients(10)
	header := make(http.Header)
	if n := testing.AllocsPerRun(1000, func() {
		s := book.Enter(p, names[0], start, Need{Tokens: 100})
		s.Answer(200)
		s.Tell(start, header)
		served(s, start, Need{50, 0})
	}); n != 1 {
		t.Errorf("%v allocations", n)
	}
}
