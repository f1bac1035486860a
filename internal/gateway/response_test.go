package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/keycycler/keycycler/internal/peek"
	"github.com/keycycler/keycycler/internal/respond"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/ttl"
)

// handlerFunc is a next handler without a script.
type handlerFunc func(w http.ResponseWriter, r *http.Request) error

func (f handlerFunc) ServeHTTP(w http.ResponseWriter, r *http.Request) error { return f(w, r) }

// attempts returns a next handler that calls the n-th function at the n-th attempt.
func attempts(functions ...func(w http.ResponseWriter, r *http.Request)) caddyhttp.Handler {
	n := 0
	return handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		n++
		functions[n-1](w, r)
		return nil
	})
}

// exchangeOverHTTP sends a request through the handler behind a real server.
func exchangeOverHTTP(t *testing.T, h *Gateway, next caddyhttp.Handler, send func(url string) *http.Request) *http.Response {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Server"] = []string{"base"}
		if err := h.ServeHTTP(w, r, next); err != nil {
			t.Errorf("handler: %v", err)
		}
	}))
	t.Cleanup(server.Close)
	client := server.Client()
	client.Timeout = time.Minute
	res, err := client.Do(send(server.URL))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func get(url string) *http.Request {
	r, _ := http.NewRequest(http.MethodGet, url, nil)
	return r
}

func TestNothingOfARejectionReachesTheClient(t *testing.T) {
	h := provision(t, 3, nil)
	next := attempts(
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Del("Server")
			w.Header().Add("Via", "1.1 Caddy")
			w.Header().Set("Content-Length", "40")
			w.Header().Set("X-Ratelimit-Limit-Requests", "3")
			w.Header().Set("Trailer", "X-Rejected")
			w.WriteHeader(429)
			fmt.Fprint(w, strings.Repeat("r", 40))
			http.NewResponseController(w).Flush()
			w.Header().Set("X-Rejected", "trailer")
		},
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Add("Via", "1.1 Caddy")
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Trailer", "X-Sum")
			w.WriteHeader(200)
			fmt.Fprint(w, "fine")
			w.Header().Set("X-Sum", "42")
		})
	res := exchangeOverHTTP(t, h, next, get)
	body, err := io.ReadAll(res.Body)
	if err != nil || string(body) != "fine" || res.StatusCode != 200 {
		t.Fatalf("%d %q %v", res.StatusCode, body, err)
	}
	res.Header.Del("Date")
	want := http.Header{"Via": {"1.1 Caddy"}, "Content-Type": {"text/plain"}, "Server": {"base"}}
	if fmt.Sprint(res.Header) != fmt.Sprint(want) {
		t.Errorf("header %v, want %v", res.Header, want)
	}
	if fmt.Sprint(res.Trailer) != "map[X-Sum:[42]]" {
		t.Errorf("trailers %v", res.Trailer)
	}
}

func TestAHeldResponseThatPassesIsUnchanged(t *testing.T) {
	// 400 is held back, as some providers reject keys with it.
	for _, size := range []int{0, 10, peek.MaxRejection, peek.MaxRejection + 1, 3 * peek.MaxRejection} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			h := provision(t, 3, nil)
			content := strings.Repeat("0123456789", size/10+1)[:size]
			next := attempts(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Trailer", "X-Sum")
				w.Header().Set("X-Kept", "yes")
				w.WriteHeader(400)
				w.Header().Set("X-Late", "not sent: the header was written")
				for p := content; p != ""; {
					n := min(len(p), 7000)
					if m, err := io.WriteString(w, p[:n]); m != n || err != nil {
						t.Errorf("wrote %d of %d, %v", m, n, err)
					}
					p = p[n:]
				}
				w.Header().Set("X-Sum", "42")
			})
			res := exchangeOverHTTP(t, h, next, get)
			body, err := io.ReadAll(res.Body)
			if err != nil || string(body) != content || res.StatusCode != 400 {
				t.Fatalf("%d, %d bytes, %v", res.StatusCode, len(body), err)
			}
			if res.Header.Get("X-Kept") != "yes" || res.Header.Get("X-Late") != "" || res.Header.Get("X-Sum") != "" {
				t.Errorf("header %v", res.Header)
			}
			if res.Trailer.Get("X-Sum") != "42" {
				t.Errorf("trailers %v", res.Trailer)
			}
		})
	}
}

// What all keys have been refused with comes to the client whole, early hints and trailers as
// well, and as it was flushed. None of it has a key.
func TestAnAnswerToAllKeysIsWhole(t *testing.T) {
	for _, flushed := range []string{"", "head", "body"} {
		t.Run("flushed "+flushed, func(t *testing.T) {
			refuse := func(w http.ResponseWriter, r *http.Request) {
				key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
				w.Header().Set("Link", "</"+key+">")
				w.WriteHeader(103)
				w.Header().Del("Link")
				w.Header().Set("Www-Authenticate", key)
				w.Header().Set("Trailer", "X-Sum")
				w.WriteHeader(401)
				if flushed == "head" {
					http.NewResponseController(w).Flush()
				}
				io.WriteString(w, "bad key "+key)
				if flushed == "body" {
					http.NewResponseController(w).Flush()
				}
				w.Header().Set("X-Sum", key+" 42")
				w.Header().Set(http.TrailerPrefix+"X-More", key+" 43")
			}
			var early []string
			res := exchangeOverHTTP(t, provision(t, 2, nil), attempts(refuse, refuse), func(url string) *http.Request {
				r := get(url)
				return r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
					Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
						early = append(early, fmt.Sprint(status, h.Get("Link")))
						return nil
					}}))
			})
			body, err := io.ReadAll(res.Body)
			stars := strings.Repeat("*", len("sk-demo-1"))
			if err != nil || res.StatusCode != 401 || string(body) != "bad key "+stars || res.Header.Get("Www-Authenticate") != stars {
				t.Errorf("%d %v %q %v", res.StatusCode, res.Header, body, err)
			}
			if len(early) != 1 || early[0] != "103</"+stars+">" {
				t.Errorf("early hints %q", early)
			}
			if res.Trailer.Get("X-Sum") != stars+" 42" || res.Trailer.Get("X-More") != stars+" 43" {
				t.Errorf("trailers %v", res.Trailer)
			}
			if _, guessed := res.Header["Content-Type"]; guessed == (flushed == "head") {
				t.Errorf("header %v", res.Header)
			}
		})
	}
}

// An answer that is held is judged when MaxHold is over, and its body may end at that moment: a
// map that is written and read at once ends the process.
func TestTrailersComeWhenAHeldAnswerIsJudged(t *testing.T) {
	for _, after := range []time.Duration{-1, 0, 1} {
		for _, own := range []bool{true, false} { // whether the header was asked for before
			synctest.Test(t, func(t *testing.T) {
				w := httptest.NewRecorder()
				err := provision(t, 2, nil).ServeHTTP(w, testkit.Post("x"), attempts(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("X-Key", r.Header.Get("Authorization"))
					w.WriteHeader(400)
					io.WriteString(w, "begin")
					if own {
						w.Header()
					}
					time.Sleep(respond.MaxHold + after)
					w.Header().Set(http.TrailerPrefix+"X-Sum", "42")
					io.WriteString(w, ", end")
				}))
				if err != nil || w.Code != 400 || w.Body.String() != "begin, end" {
					t.Errorf("%d %q %v", w.Code, w.Body, err)
				}
				if w.Header().Get(http.TrailerPrefix+"X-Sum") != "42" || strings.Contains(fmt.Sprint(w.Header()), "sk-demo") {
					t.Errorf("trailers %v", w.Header())
				}
			})
		}
	}
}

// fragile is a client whose outer handlers panic when they are given what a timer passes on.
type fragile struct {
	http.ResponseWriter
	at string // "head" or "body"
}

func (f fragile) WriteHeader(status int) {
	if f.at == "head" {
		panic("fragile")
	}
	f.ResponseWriter.WriteHeader(status)
}

func (f fragile) Write(p []byte) (int, error) {
	if f.at == "body" && strings.Contains(string(p), "keepalive") {
		panic("fragile")
	}
	return f.ResponseWriter.Write(p)
}

// What panics on a goroutine of ours would end the process. It ends the request, as it does
// without us.
func TestAPanicOfATimerIsTheRequests(t *testing.T) {
	for _, row := range []struct {
		why, at, media, body string
		status               int
	}{
		{"a held answer is judged after a while", "head", "text/plain", "begin", 400},
		{"so is what a success begins with", "head", "application/json", `{"error":`, 200},
		{"a stream gets a comment", "body", eventStream, firstDelta, 200},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := provision(t, 1, func(c *Config) { c.Keepalive, c.Limit = 15*time.Second, limitOf(1, 0, 0) })
			ended := false
			defer func() {
				if p := recover(); p != "fragile" || !ended {
					t.Errorf("%s: the request ended with %v, and the attempt %v", row.why, p, ended)
				}
				if w, _ := testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Post("x")); w.Code != http.StatusOK {
					t.Errorf("%s: the key was not given back: %d", row.why, w.Code)
				}
			}()
			_ = h.ServeHTTP(fragile{httptest.NewRecorder(), row.at}, testkit.Post("x"), handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				w.Header().Set("Content-Type", row.media)
				w.WriteHeader(row.status)
				io.WriteString(w, row.body)
				<-r.Context().Done()
				ended = true
				return r.Context().Err()
			}))
		})
	}
}

func TestAnEndlessRejectionEnds(t *testing.T) {
	h := provision(t, 3, nil)
	var written int
	next := attempts(
		func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(429)
			for chunk := make([]byte, 8<<10); ; {
				n, err := w.Write(chunk)
				written += n
				if err != nil {
					if !errors.Is(err, respond.ErrRejected) {
						t.Errorf("error %v", err)
					}
					panic(http.ErrAbortHandler) // as reverse_proxy does
				}
			}
		},
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") })
	w := httptest.NewRecorder()
	if err := h.ServeHTTP(w, testkit.Post("x"), next); err != nil || w.Body.String() != "fine" {
		t.Errorf("%q, %v", w.Body, err)
	}
	if written > peek.MaxRejection+respond.MaxDiscard {
		t.Errorf("%d bytes of the rejection were read", written)
	}
}

func TestAStalledBodyIsJudgedByWhatHasCome(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		calls  int
		want   string
	}{
		{429, `{"error":{`, 2, "fine"},
		{400, `{"error":{"code":"model_not_found"}}`, 1, `{"error":{"code":"model_not_found"}} rest`},
	} {
		t.Run(fmt.Sprint(test.status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := provision(t, 3, nil)
				calls := 0
				next := handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
					if calls++; calls == 2 {
						return testkit.Fine.Write(w)
					}
					w.WriteHeader(test.status)
					io.WriteString(w, test.body)
					select { // the upstream stalls: reverse_proxy waits for its body
					case <-r.Context().Done():
						panic(http.ErrAbortHandler)
					case <-time.After(time.Hour):
						io.WriteString(w, " rest")
						return nil
					}
				})
				start := time.Now()
				w := httptest.NewRecorder()
				if err := h.ServeHTTP(w, testkit.Post("x"), next); err != nil {
					t.Fatal(err)
				}
				if w.Body.String() != test.want || calls != test.calls {
					t.Errorf("%d calls, client got %q", calls, w.Body)
				}
				if test.calls == 2 && time.Since(start) != respond.MaxHold {
					t.Errorf("the next key's turn came after %s, want %s", time.Since(start), respond.MaxHold)
				}
				if test.calls == 1 && !w.Flushed {
					t.Error("the response was not flushed when it was passed on")
				}
			})
		})
	}
}

// recorder notes every header that is sent, informational ones too.
type recorder struct {
	*httptest.ResponseRecorder
	sent []string
}

func (r *recorder) WriteHeader(status int) {
	r.sent = append(r.sent, fmt.Sprint(status, r.Header()))
	if status >= 200 || status == 101 {
		r.ResponseRecorder.WriteHeader(status)
	}
}

func TestInformationalResponses(t *testing.T) {
	h := provision(t, 3, nil)
	inform := func(w http.ResponseWriter, status int, link string) {
		// What reverse_proxy does with a 1xx.
		own := w.Header().Clone()
		w.Header().Set("Link", link)
		w.WriteHeader(status)
		respond.Replace(w.Header(), own)
	}
	next := attempts(
		func(w http.ResponseWriter, _ *http.Request) {
			inform(w, 103, "</rejected>")
			inform(w, 102, "</rejected>")
			w.WriteHeader(429)
		},
		func(w http.ResponseWriter, _ *http.Request) {
			for range 2 * respond.MaxEarly {
				inform(w, 103, "</fine>")
			}
			w.Header().Set("X-Final", "yes")
			w.WriteHeader(200)
		})
	w := &recorder{ResponseRecorder: httptest.NewRecorder()}
	w.Header().Set("Server", "base")
	if err := h.ServeHTTP(w, testkit.Post("x"), next); err != nil {
		t.Fatal(err)
	}
	want := []string{"102map[Server:[base]]"}
	for range respond.MaxEarly {
		want = append(want, "103map[Link:[</fine>] Server:[base]]")
	}
	want = append(want, "200map[Server:[base] X-Final:[yes]]")
	if got := strings.ReplaceAll(strings.Join(w.sent, "\n"), " map", "map"); got != strings.Join(want, "\n") {
		t.Errorf("sent:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

// readerFrom counts what goes through ReadFrom.
type readerFrom struct {
	*httptest.ResponseRecorder
	n int64
}

func (r *readerFrom) ReadFrom(src io.Reader) (int64, error) {
	n, err := io.Copy(r.ResponseRecorder, src)
	r.n += n
	return n, err
}

func TestReadFromReachesTheConnection(t *testing.T) {
	h := provision(t, 3, nil)
	content := strings.Repeat("x", 100_000)
	next := attempts(
		func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(429)
			if n, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader(content)); err != nil || n != int64(len(content)) {
				t.Errorf("a rejection took %d bytes, %v", n, err)
			}
		},
		func(w http.ResponseWriter, _ *http.Request) {
			if n, err := io.Copy(w, io.LimitReader(strings.NewReader(content), 1<<20)); err != nil || n != int64(len(content)) {
				t.Errorf("copied %d bytes, %v", n, err)
			}
		})
	w := &readerFrom{ResponseRecorder: httptest.NewRecorder()}
	if err := h.ServeHTTP(w, testkit.Post("x"), next); err != nil {
		t.Fatal(err)
	}
	if w.Body.String() != content || w.n != int64(len(content)) {
		t.Errorf("%d bytes, %d by ReadFrom", w.Body.Len(), w.n)
	}
}

func TestFlushStreams(t *testing.T) {
	h := provision(t, 3, nil)
	seen := make(chan struct{})
	next := attempts(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "data: 1\n")
		w.(http.Flusher).Flush()
		<-seen // lock-step: nothing more comes until the client has seen this
		fmt.Fprint(w, "data: 2\n")
	})
	res := exchangeOverHTTP(t, h, next, get)
	lines := bufio.NewReader(res.Body)
	if line, err := lines.ReadString('\n'); line != "data: 1\n" {
		t.Fatalf("%q, %v", line, err)
	}
	close(seen)
	if line, err := lines.ReadString('\n'); line != "data: 2\n" {
		t.Fatalf("%q, %v", line, err)
	}
}

func TestHijack(t *testing.T) {
	h := provision(t, 3, nil)
	next := attempts(
		func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(429)
			if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("a rejection was hijacked: %v", err)
			}
		},
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "demo")
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, buffered, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			line, _ := buffered.ReadString('\n')
			fmt.Fprintf(conn, "you said %s", line)
		})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r, next)
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: demo\r\nConnection: Upgrade\r\nUpgrade: demo\r\n\r\nhello\n")
	all, err := io.ReadAll(conn)
	if err != nil || !bytes.HasPrefix(all, []byte("HTTP/1.1 101 ")) || !bytes.HasSuffix(all, []byte("you said hello\n")) {
		t.Errorf("%q, %v", all, err)
	}
}

func TestUnwrapReachesTheConnection(t *testing.T) {
	h := provision(t, 1, nil)
	res := exchangeOverHTTP(t, h, attempts(func(w http.ResponseWriter, _ *http.Request) {
		c := http.NewResponseController(w)
		if err := errors.Join(c.EnableFullDuplex(), c.SetReadDeadline(time.Now().Add(time.Minute)), c.SetWriteDeadline(time.Time{})); err != nil {
			t.Error(err)
		}
		if err := w.(http.Pusher).Push("/x", nil); err == nil {
			t.Error("HTTP/1.1 cannot push")
		}
	}), get)
	if res.StatusCode != 200 {
		t.Error(res.Status)
	}
}

func TestRefusedRequestsHaveTheProvidersShape(t *testing.T) {
	for _, test := range []struct {
		name   string
		cools  ttl.Class
		last   time.Duration
		status int
		kind   string
		again  string
		retry  string
	}{
		{"rate limits", ttl.RateLimited, 40 * time.Second, 429, `"type":"requests","param":null,"code":"rate_limit_exceeded"`, "4", ""},
		{"spent quotas are told apart", ttl.QuotaExhausted, 24 * time.Hour, 429, `"type":"insufficient_quota","param":null,"code":"insufficient_quota"`, "", "false"},
		{"invalid keys are told apart", ttl.InvalidKey, 24 * time.Hour, 429, `"type":"invalid_request_error","param":null,"code":"invalid_api_key"`, "", "false"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := provision(t, 2, nil)
			for s := range rotator.Slot(2) {
				h.KeyPool().Cool(time.Now(), s, rotator.Cooldown{For: test.last, Reason: rotator.Reason(test.cools)})
			}
			w := httptest.NewRecorder()
			w.Header().Set("Server", "base")
			if err := h.ServeHTTP(w, testkit.Post("x"), nil); err != nil {
				t.Fatal(err)
			}
			header := w.Result().Header
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.kind) || header.Get("Content-Type") != "application/json" {
				t.Errorf("%d %v %s", w.Code, header, w.Body)
			}
			if header.Get("X-Should-Retry") != test.retry || !strings.HasPrefix(header.Get("Retry-After"), test.again) || header.Get("Retry-After") == "" {
				t.Errorf("header %v", header)
			}
			if header.Get("Content-Length") != fmt.Sprint(w.Body.Len()) || header.Get("Server") != "base" {
				t.Errorf("header %v", header)
			}
		})
	}
}
