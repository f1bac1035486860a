package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/keycycler/keycycler/internal/testkit"
)

const form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt\r\n--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\ngpt\r\n--b--\r\n"

// renaming returns the body of a request that has this content, in any of the ways to send
// it: "stated", "chunked" or "slow", which is chunked and byte by byte.
func renaming(t testing.TB, way, contentType, content string, header ...string) (*Body, *http.Request) {
	t.Helper()
	var source io.Reader = strings.NewReader(content)
	if way == "slow" {
		source = iotest.OneByteReader(source)
	}
	r := testkit.Upload(source).WithContext(t.Context())
	r.Header.Set("Content-Type", contentType)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if way == "stated" {
		r.ContentLength = int64(len(content))
		r.Header.Set("Content-Length", strconv.Itoa(len(content)))
	}
	b := newReplayBody(r, Limits{Total: testkit.Ample, Memory: 16 << 20, Disk: 64 << 20, Renames: true})
	t.Cleanup(b.Finish)
	return b, r
}

// attempt makes an attempt that calls the model gpt otherwise, reads its body in pieces of
// this size, and returns its request.
func attempt(t testing.TB, b *Body, to string, piece int) (request *http.Request, got string, ok bool) {
	t.Helper()
	request = b.request.Clone(t.Context())
	a := b.Attempt(request)
	ok = a.Rename(request, called(to))
	var all bytes.Buffer
	if _, err := io.CopyBuffer(&all, struct{ io.Reader }{a}, make([]byte, piece)); err != nil {
		t.Errorf("error %v", err)
	}
	if request.ContentLength >= 0 && (int(request.ContentLength) != all.Len() || request.Header.Get("Content-Length") != strconv.Itoa(all.Len())) {
		t.Errorf("%d bytes came, %d and %s are stated", all.Len(), request.ContentLength, request.Header.Get("Content-Length"))
	}
	if !b.Reject() {
		t.Error("the attempt was the last")
	}
	a.Close()
	return request, all.String(), ok
}

// Each attempt has its own name of the model, or the client's; who comes after has the
// client's.
func TestEachAttemptHasItsName(t *testing.T) {
	for _, test := range []struct {
		contentType, body string
	}{
		{"application/json", `{"model":"gpt"}`},
		{"application/json", `{"a":["gpt"],"model" : "\u0067pt" ,"n":{"model":"gpt"}}`},
		{"application/json", `{"a":"` + strings.Repeat("x", 60_000) + `","model":"gpt"}`},
		{"application/json", `{"model":"gpt","a":"` + strings.Repeat("x", 300_000) + `"}`},
		{"multipart/form-data; boundary=b", form},
	} {
		for _, way := range []string{"stated", "chunked", "slow"} {
			for _, piece := range []int{1, 7, 4096, 1 << 20} {
				if piece == 1 && len(test.body) > 1<<10 {
					continue
				}
				b, r := renaming(t, way, test.contentType, test.body)
				for _, to := range []string{"m", "gpt", "a-longer-name", "gpt"} {
					want := test.body
					if to != "gpt" {
						want = strings.NewReplacer(`"model" : "\u0067pt"`, `"model" : "`+to+`"`, `["gpt"]`, `["gpt"]`, `{"model":"gpt"}}`, `{"model":"gpt"}}`,
							`"model":"gpt"`, `"model":"`+to+`"`, "\"model\"\r\n\r\ngpt", "\"model\"\r\n\r\n"+to).Replace(test.body)
					}
					if _, got, ok := attempt(t, b, to, piece); got != want || !ok {
						t.Fatalf("%s, pieces of %d: %.200q, %v, want %.200q", way, piece, got, ok, want)
					}
				}
				b.Attempt(r.Clone(t.Context())).Rename(r.Clone(t.Context()), called("unread"))
				b.HandOver(r)
				if got, err := io.ReadAll(r.Body); string(got) != test.body || err != nil {
					t.Errorf("%s: who comes after got %d bytes, %v", way, len(got), err)
				}
			}
		}
	}
}

// All that name the model and have come are renamed, whichever counts upstream.
func TestNoOtherNameOfTheModelIsLeft(t *testing.T) {
	b, _ := renaming(t, "stated", "application/json", `{"model":"other","mod\u0065l":"gpt","model":"gpt"}`)
	if _, got, _ := attempt(t, b, "m", 100); got != `{"model":"m","mod\u0065l":"m","model":"m"}` {
		t.Errorf("%s", got)
	}
	if _, got, _ := attempt(t, b, `"\`, 1); got != `{"model":"\"\\","mod\u0065l":"\"\\","model":"\"\\"}` {
		t.Errorf("%s", got)
	}
	b, _ = renaming(t, "slow", "application/json", `{"model":"gpt","a":1,"model":"gpt"}`)
	if _, got, _ := attempt(t, b, "m", 100); got != `{"model":"m","a":1,"model":"gpt"}` {
		t.Errorf("what comes later: %s", got)
	}
	if _, got, _ := attempt(t, b, "m", 100); got != `{"model":"m","a":1,"model":"m"}` {
		t.Errorf("what has come later, in the next attempt: %s", got)
	}
	many := `{"model":"gpt"` + strings.Repeat(`,"model":"gpt"`, 100) + "}"
	b, _ = renaming(t, "stated", "application/json", many)
	if _, got, ok := attempt(t, b, "m", 100); got != many || ok {
		t.Errorf("%s, %v", got, ok)
	}
}

// A model that is named too late for the first attempt is the client's there.
func TestALateNameStays(t *testing.T) {
	body := `{"a":"` + strings.Repeat("x", MaxEager) + `","model":"gpt"}`
	b, _ := renaming(t, "chunked", "application/json", body)
	if _, got, ok := attempt(t, b, "m", 100); got != body || !ok {
		t.Errorf("%d bytes, %v", len(got), ok)
	}
	if _, got, ok := attempt(t, b, "m", 100); got != strings.Replace(body, `"gpt"`, `"m"`, 1) || !ok {
		t.Errorf("the second attempt, when it is known: %d bytes, %v", len(got), ok)
	}
}

// What vouches for the bytes of the body is taken off where they are others, and only there.
func TestDigestsOfARenamedBody(t *testing.T) {
	header := []string{"Content-MD5", "x", "Digest", "x", "Content-Digest", "x", "Repr-Digest", "x", "X-Amz-Content-Sha256", "x", "Idempotency-Key", "x", "Etag", "x"}
	b, r := renaming(t, "stated", "application/json", `{"model":"gpt"}`, header...)
	r.Trailer = http.Header{"Content-Digest": {"late"}, "X-Other": {"late"}}
	b.trailer = http.Header{"Content-Digest": nil, "X-Other": nil}
	request, _, _ := attempt(t, b, "gpt", 100)
	if request.Header.Get("Content-Md5") != "x" || len(request.Header) != 9 || request.Trailer.Get("Content-Digest") != "late" {
		t.Errorf("without another name: %v, %v", request.Header, request.Trailer)
	}
	request, _, _ = attempt(t, b, "m", 100)
	want := http.Header{"Content-Type": {"application/json"}, "Content-Length": {"13"}, "Idempotency-Key": {"x"}, "Etag": {"x"}}
	if !maps.EqualFunc(request.Header, want, func(a, b []string) bool { return a[0] == b[0] }) {
		t.Errorf("%v", request.Header)
	}
	if fmt.Sprint(request.Trailer) != "map[X-Other:[late]]" {
		t.Errorf("trailer %v", request.Trailer)
	}
	if r.Header.Get("Digest") != "x" || r.ContentLength != 15 {
		t.Error("the client's request has changed")
	}
}

// A compressed body that is small goes out as it is below, and to who is not to have another
// name, as it came.
func TestRenamedCompressedBody(t *testing.T) {
	text := `{"a":"` + strings.Repeat("x", 500_000) + `","model":"gpt"}`
	for coding := range testkit.Compressors {
		name := strings.Replace(coding, "raw", "deflate", 1)
		content := testkit.Compress(t, coding, text)
		for _, way := range []string{"stated", "chunked", "slow"} {
			before := KeptMemory.Load()
			b, _ := renaming(t, way, "application/json", content, "Content-Encoding", name)
			kept := KeptMemory.Load()
			request, got, ok := attempt(t, b, "m", 1000)
			if got != strings.Replace(text, `"gpt"`, `"m"`, 1) || !ok || request.Header["Content-Encoding"] != nil {
				t.Errorf("%s, %s: %d bytes, %v, %v", coding, way, len(got), ok, request.Header)
			}
			if KeptMemory.Load() != kept || kept == before {
				t.Errorf("%d bytes are kept for nobody", KeptMemory.Load()-kept)
			}
			request, got, ok = attempt(t, b, "gpt", 1000)
			if got != content || !ok || request.Header.Get("Content-Encoding") != name {
				t.Errorf("%s, %s: %d bytes, %v, %v", coding, way, len(got), ok, request.Header)
			}
		}
	}
}

// The copy of a body that is sent otherwise goes as well when the answer has come.
func TestTheCopyOfAPlainBodyIsGivenBack(t *testing.T) {
	before := KeptMemory.Load()
	b, r := renaming(t, "chunked", "application/json", testkit.Compress(t, "gzip", `{"model":"gpt"}`), "Content-Encoding", "gzip")
	request := r.Clone(t.Context())
	a := b.Attempt(request)
	a.Rename(request, called("m"))
	b.Commit()
	if got, err := io.ReadAll(a); string(got) != `{"model":"m"}` || err != nil || b.copy.size > 0 {
		t.Errorf("%s, %v, %d bytes are kept", got, err, b.copy.size)
	}
	a.Close()
	a.Close()
	if kept := KeptMemory.Load() - before; kept != 0 {
		t.Errorf("%d bytes are kept", kept)
	}
}

// What is too large for that, or broken, goes out as it came.
func TestCompressedBodiesThatAreNotRenamed(t *testing.T) {
	noise := fmt.Sprintf(`{"model":"gpt","a":"%x"}`, testkit.Content(200_000))
	whole := testkit.Compress(t, "gzip", `{"model":"gpt"}`)
	for what, content := range map[string]string{
		"more than 64 KiB":      testkit.Compress(t, "gzip", noise),
		"more than 1 MiB below": testkit.Compress(t, "gzip", `{"model":"gpt","a":"`+strings.Repeat("x", maxPlain)+`"}`),
		"broken at the end":     testkit.Compress(t, "gzip", `{"model":"gpt"}`+strings.Repeat(" ", 1000))[:len(whole)+2],
		"something behind it":   whole + "x",
	} {
		for _, way := range []string{"stated", "chunked"} {
			b, _ := renaming(t, way, "application/json", content, "Content-Encoding", "gzip")
			request, got, ok := attempt(t, b, "m", 1000)
			if got != content || request.Header.Get("Content-Encoding") != "gzip" {
				t.Errorf("%s, %s: %d bytes, %v", what, way, len(got), request.Header)
			}
			if ok && what != "broken at the end" {
				t.Errorf("%s: nobody is told", what)
			}
		}
	}
}

// All bodies of the process have so much memory, those among them that are sent without
// their coding.
func TestAPlainBodyCountsAsMemory(t *testing.T) {
	text := `{"model":"gpt","a":"` + strings.Repeat("x", 500_000) + `"}`
	content := testkit.Compress(t, "gzip", text)
	r := testkit.Upload(strings.NewReader(content))
	r.Header = http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}
	b := newReplayBody(r, Limits{Total: KeptMemory.Load() + 100_000, Memory: 1 << 20, Renames: true})
	defer b.Finish()
	request := r.Clone(t.Context())
	a := b.Attempt(request)
	if a.Rename(request, called("m")) {
		t.Error("it was renamed")
	}
	if got, err := io.ReadAll(a); string(got) != content || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A large body that is on a disk is edited as one in memory, and streams.
func TestRenamedLargeBodies(t *testing.T) {
	testkit.TempDir(t)
	head, tail := `{"model":"gpt","a":"`, `"}`
	for _, size := range []int{0, 1, 64 << 10, 1 << 20, 30 << 20} {
		body := head + strings.Repeat("0123456789abcdef", size/16) + tail
		for _, way := range []string{"stated", "chunked"} {
			b, _ := renaming(t, way, "application/json", body)
			for _, to := range []string{"other-name", "gpt", "m"} {
				if _, got, ok := attempt(t, b, to, 32<<10); got != strings.Replace(body, "gpt", to, 1) || !ok {
					t.Errorf("%d, %s, %s: %d bytes, %v", size, way, to, len(got), ok)
				}
			}
		}
	}
}

// A body that breaks off does so for the attempt, too.
func TestARenamedBodyThatBreaksOff(t *testing.T) {
	r := testkit.Upload(io.MultiReader(strings.NewReader(`{"model":"gpt","a":`), iotest.ErrReader(io.ErrUnexpectedEOF)))
	r.Header.Set("Content-Type", "application/json")
	b := newReplayBody(r, Limits{Total: testkit.Ample, Memory: 1 << 20, Renames: true})
	defer b.Finish()
	request := r.Clone(t.Context())
	a := b.Attempt(request)
	a.Rename(request, called("m"))
	if got, err := io.ReadAll(a); string(got) != `{"model":"m","a":` || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%s, %v", got, err)
	}
	a.Close()
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("after the end: %v", err)
	}
}

// A late read of an attempt that is over, beside one of the next.
func TestRenamedAttemptsReadAtOnce(t *testing.T) {
	body := string(naming("gpt", 1000))
	b, _ := renaming(t, "chunked", "application/json", body)
	for i := range 20 {
		request := b.request.Clone(t.Context())
		a := b.Attempt(request)
		a.Rename(request, called(fmt.Sprint("name-", i)))
		done := make(chan struct{})
		go func() {
			defer close(done)
			got, err := io.ReadAll(a)
			if want := strings.ReplaceAll(body, `"gpt"`, fmt.Sprintf(`"name-%d"`, i)); !strings.HasPrefix(want, string(got)) || err == nil && string(got) != want {
				t.Errorf("%.100s, %v", got, err)
			}
		}()
		if i%2 == 0 {
			<-done
		}
		b.Reject()
		if i%3 == 0 {
			a.Close()
		}
		t.Cleanup(func() { <-done })
	}
}

func BenchmarkRename(b *testing.B) {
	for name, size := range map[string]int{"1KB": 1 << 10, "10MB": 10 << 20} {
		content := naming("gpt", size)
		content = content[:len(content):len(content)]
		for to, what := range map[string]string{"gpt": "none", "another-name": "renamed"} {
			b.Run(name+"/"+what, func(b *testing.B) {
				benchmarkRename(b, []byte(`{"model":"gpt",`+string(content[1:])), to)
			})
		}
	}
}

func benchmarkRename(b *testing.B, content []byte, to string) {
	limits := Limits{Total: testkit.Ample, Memory: 16 << 20, Renames: to != "gpt"}
	rename := called(to)
	p := make([]byte, LargeChunk)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		r := testkit.Upload(nil)
		r.Header["Content-Type"] = []string{"application/json"}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(content)), int64(len(content))
		body := new(Body)
		body.Begin(r, &limits)
		request := *r
		a := body.Attempt(&request)
		if to != "gpt" && !a.Rename(&request, rename) {
			b.Fatal("it was not renamed")
		}
		for err := error(nil); err == nil; {
			_, err = a.Read(p)
		}
		a.Close()
		body.Finish()
	}
}
