package gateway

import (
	"fmt"
	"net/http"
	"testing"

	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/client"
	"github.com/keycycler/keycycler/internal/keyset"
)

// BenchmarkAdmit measures what a token costs a request, with few clients and many.
func BenchmarkAdmit(b *testing.B) {
	for _, clients := range []int{1, 100_000} {
		h := provision(b, 1, func(c *Config) {
			c.Tokens = &client.Source{From: new(keyset.Inputs), Log: c.Logger}
			for i := range clients {
				c.Tokens.From.Texts = append(c.Tokens.From.Texts, fmt.Sprintf("demo-token-%08d", i))
			}
		})
		for _, bench := range []struct{ name, token string }{
			{"right", "demo-token-00000000"}, {"wrong", "demo-token-of-nobody"},
		} {
			b.Run(fmt.Sprintf("%d clients, %s", clients, bench.name), func(b *testing.B) {
				r, _ := benchRequest(nil)
				r.Header.Set("Authorization", "Bearer "+bench.token)
				b.ReportAllocs()
				for b.Loop() {
					if c, _ := h.clients.Admit(r); (c != nil) != (bench.name == "right") {
						b.Fatal(c)
					}
				}
			})
		}
	}
}

// BenchmarkUnauthorized measures the whole answer to a wrong token.
func BenchmarkUnauthorized(b *testing.B) {
	h := guarded(b, nil)
	h.announcer.Sampled = zap.NewNop()
	r, _ := benchRequest(nil)
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		if err := h.ServeHTTP(w, r, nil); err != nil {
			b.Fatal(err)
		}
	}
}
