package sdk

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Keys begin like OpenAI's. The client has one of its own, which opens nothing.
const (
	keyPrefix = "sk-demo-"
	clientKey = "sk-client-demo"
)

// upstream plays the provider: it turns keys down as the test says, answers the
// others, and keeps what it saw.
type upstream struct {
	url    string
	refuse func(key string) *refusal // nil: the key is good. Never called twice at a time

	acknowledged chan string   // the client has the streamed text
	left         chan string   // the key of a stream whose client has left
	closed       chan int      // the status a websocket was closed with
	over         chan struct{} // the test has ended: wait for nothing

	mu    sync.Mutex
	calls []call
}

// call is what the upstream saw of one request.
type call struct {
	at     time.Time
	key    string
	method string
	path   string
	query  string
	header http.Header

	body    digest // of what was read of it
	small   []byte // the body itself, where it is JSON
	file    digest // of the part that holds the file, in an upload
	trailer http.Header
	refused bool
}

// digest stands for bytes.
type digest struct {
	SHA256 string `json:"sha256"`
	Length int64  `json:"length"`
}

func startUpstream(t *testing.T, refuse func(key string) *refusal) *upstream {
	t.Helper()
	up := &upstream{
		refuse:       refuse,
		acknowledged: make(chan string),
		left:         make(chan string, 1),
		closed:       make(chan int, 1),
		over:         make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/", up.serve)
	mux.HandleFunc("POST /control/acknowledge", up.serveAcknowledge)
	mux.HandleFunc("POST /control/await-left", up.serveAwaitLeft)
	server := httptest.NewServer(mux)
	up.url = server.URL
	t.Cleanup(func() {
		close(up.over)
		server.CloseClientConnections()
		server.Close()
	})
	return up
}

// seen returns the calls so far. A call is kept before it is answered: who has an
// answer finds the call here.
func (up *upstream) seen() []call {
	up.mu.Lock()
	defer up.mu.Unlock()
	return slices.Clone(up.calls)
}

func (up *upstream) serve(w http.ResponseWriter, r *http.Request) {
	c := call{at: time.Now(), key: keyIn(r.Header), method: r.Method, path: r.URL.Path, query: r.URL.RawQuery, header: r.Header}
	up.mu.Lock()
	no := up.refuse(c.key)
	up.mu.Unlock()
	c.refused = no != nil
	if no == nil || !no.early {
		if err := c.read(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	up.mu.Lock()
	up.calls = append(up.calls, c)
	up.mu.Unlock()
	switch {
	case no != nil && no.silent:
		select {
		case <-r.Context().Done():
		case <-up.over:
		}
		return
	case no != nil:
		no.answer(w)
		return
	}
	up.answer(w, r, c)
}

// keyIn returns the key that a header carries, wherever a provider wants it.
func keyIn(h http.Header) string {
	return cmp.Or(h.Get("X-Api-Key"), h.Get("X-Goog-Api-Key"), strings.TrimPrefix(h.Get("Authorization"), "Bearer "))
}

// read takes the whole body in, and what it means.
func (c *call) read(r *http.Request) error {
	whole := newDigester()
	body := io.TeeReader(r.Body, whole)
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == "multipart/form-data":
		err = c.readForm(multipart.NewReader(body, parameters["boundary"]))
	case err == nil && kind == "application/json":
		c.small, err = io.ReadAll(body)
	default:
		err = nil // no body, or one that is of no account
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, body) // what stands behind a form's end
	c.body, c.trailer = whole.digest(), r.Trailer
	return err
}

func (c *call) readForm(form *multipart.Reader) error {
	for {
		part, err := form.NextRawPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		content := newDigester()
		if _, err := io.Copy(content, part); err != nil {
			return err
		}
		if part.FormName() == "file" {
			c.file = content.digest()
		}
	}
}

// serveAcknowledge lets a client in another process acknowledge streamed text.
func (up *upstream) serveAcknowledge(_ http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	select {
	case up.acknowledged <- string(text):
	case <-up.over:
	}
}

// serveAwaitLeft answers when the upstream knows that a client has left.
func (up *upstream) serveAwaitLeft(w http.ResponseWriter, _ *http.Request) {
	select {
	case key := <-up.left:
		io.WriteString(w, key) // the test fails without it
	case <-up.over:
	}
}

// mentions tells whether the text stands anywhere in what the call carried.
func (c *call) mentions(text string) bool {
	var all bytes.Buffer
	c.header.Write(&all) // to memory
	all.WriteString(c.path + "?" + c.query)
	all.Write(c.small)
	return strings.Contains(all.String(), text)
}

// digester is a writer that makes a digest.
type digester struct {
	hash   hash.Hash
	length int64
}

func newDigester() *digester { return &digester{hash: sha256.New()} }

// Write implements io.Writer.
func (d *digester) Write(p []byte) (int, error) {
	d.length += int64(len(p))
	return d.hash.Write(p)
}

func (d *digester) digest() digest {
	return digest{SHA256: hex.EncodeToString(d.hash.Sum(nil)), Length: d.length}
}

func digestOf(p []byte) digest {
	d := newDigester()
	d.Write(p) // a hash takes everything
	return d.digest()
}
