package quota

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// manyClients is a book with so many clients, and their names.
func manyClients(n int) (*Book, *Plan, []string) {
	b, p := newBook(MaxClients), planOf(sliding(Requests, 1_000_000, time.Minute), sliding(Tokens, 1_000_000_000, time.Minute), Limit{Concurrency, 100, Period{}})
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("user-%d@example.com", i*7919%n)
		s := b.Enter(p, names[i], start, Need{})
		served(s, start, Need{10, 0})
	}
	return b, p, names
}

// BenchmarkFind looks a client up among many.
func BenchmarkFind(b *testing.B) {
	book, p, names := manyClients(MaxClients)
	i := 0
	for b.Loop() {
		if i++; i == len(names) {
			i = 0
		}
		book.find(p, names[i], start)
	}
}

// BenchmarkStay is all that a request costs: its place, what is told and what it has used.
func BenchmarkStay(b *testing.B) {
	book, p, names := manyClients(MaxClients)
	i, at, header := 0, start, make(http.Header)
	b.ReportAllocs()
	for b.Loop() {
		if i++; i == len(names) {
			i = 0
		}
		at += 1000
		s := book.Enter(p, names[i], at, Need{Tokens: 100})
		s.Answer(200)
		s.Tell(at, header)
		s.Settle(at, Need{50, 0})
	}
}

// BenchmarkStayParallel is that from all cores at once, of different clients and of one.
func BenchmarkStayParallel(b *testing.B) {
	for _, clients := range []int{MaxClients, 1} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			book, p, names := manyClients(clients)
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					s := book.Enter(p, names[i*31%len(names)], start, Need{Tokens: 1})
					served(s, start, Need{1, 0})
				}
			})
		})
	}
}
