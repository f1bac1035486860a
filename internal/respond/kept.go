package respond

import (
	"net/http"
	"slices"
)

// Kept is a rejection that the client may get after all, where no key serves its request.
type Kept struct {
	status int
	head   http.Header
	body   []byte
}

// Keep returns the held response, nil where not all of its body is there, or has come. Its
// owner calls it when it settles the response.
func (w *Writer) Keep() *Kept {
	if !w.Whole || !w.Returned {
		return nil
	}
	return &Kept{w.Status, w.Head, slices.Clone(w.Held)}
}

// With returns one whose header f has changed.
func (k *Kept) With(f func(http.Header)) *Kept {
	head := k.head.Clone() // others may get the other
	f(head)
	return &Kept{k.status, head, k.body}
}

// Send gives it to a client that has nothing yet. retryAfter is set where it is not "". It is
// safe for concurrent use.
func (k *Kept) Send(client http.ResponseWriter, retryAfter string) error {
	h := client.Header()
	Replace(h, k.head.Clone()) // others may get it, too
	if retryAfter != "" {
		h.Set("Retry-After", retryAfter)
		h.Del("Retry-After-Ms") // SDKs heed it first
	}
	client.WriteHeader(k.status)
	_, err := client.Write(k.body)
	return err
}

// Status is the response's.
func (k *Kept) Status() int { return k.status }

// RetryAfter is what its header says, "" where that is nothing.
func (k *Kept) RetryAfter() string { return k.head.Get("Retry-After") }

// Size is how long its body is, in bytes.
func (k *Kept) Size() int { return len(k.body) }
