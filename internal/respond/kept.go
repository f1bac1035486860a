package respond

import (
	"maps"
	"net/http"
	"slices"
)

// Kept is a rejection that the client may get after all, where no key serves its request:
// as the handler has written it.
type Kept struct {
	early     []http.Header
	status    int
	head      http.Header
	flushHead bool // the head was flushed alone
	body      []byte
	flush     bool // so was the body, or a part
	late      http.Header
}

// Keep returns the held response, nil where not all of its body is there, or has come. Its
// owner calls it when it settles the response.
func (w *Writer) Keep() *Kept {
	if !w.Whole || !w.Returned {
		return nil
	}
	return &Kept{w.Early, w.Status, w.Head, w.flushHead, slices.Clone(w.Held), w.flush, w.Late}
}

// With returns one whose header f has changed.
func (k *Kept) With(f func(http.Header)) *Kept {
	with := *k
	with.head = k.head.Clone() // others may get the other
	f(with.head)
	return &with
}

// Send gives it to a client that has nothing yet. retryAfter is set where it is not "". It is
// safe for concurrent use.
func (k *Kept) Send(client http.ResponseWriter, retryAfter string) error {
	k.sendHead(client, retryAfter)
	if _, err := client.Write(k.body); err != nil {
		return err
	}
	if k.flush {
		//nolint:errcheck // not every client can
		http.NewResponseController(client).Flush()
	}
	maps.Copy(client.Header(), k.late.Clone())
	return nil
}

// sendHead gives the client what comes before the body. Others may get the same headers.
func (k *Kept) sendHead(client http.ResponseWriter, retryAfter string) {
	h := client.Header()
	for _, hints := range k.early {
		Replace(h, hints.Clone())
		client.WriteHeader(http.StatusEarlyHints)
	}
	Replace(h, k.head.Clone())
	if retryAfter != "" {
		h.Set("Retry-After", retryAfter)
		h.Del("Retry-After-Ms") // SDKs heed it first
	}
	client.WriteHeader(k.status)
	if k.flushHead {
		//nolint:errcheck // not every client can
		http.NewResponseController(client).Flush()
	}
}

// Status is the response's.
func (k *Kept) Status() int { return k.status }

// Coded tells whether its body is in a content coding.
func (k *Kept) Coded() bool { return len(k.head["Content-Encoding"]) > 0 }

// RetryAfter is what its header says, "" where that is nothing.
func (k *Kept) RetryAfter() string { return k.head.Get("Retry-After") }

// Size is how long it is, with all its headers, in bytes.
func (k *Kept) Size() int {
	size := len(k.body) + headerSize(k.head) + headerSize(k.late)
	for _, hints := range k.early {
		size += headerSize(hints)
	}
	return size
}
