package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keycycler/keycycler/internal/blame"
	"github.com/keycycler/keycycler/internal/observe"
	"github.com/keycycler/keycycler/internal/testkit"
	"github.com/keycycler/keycycler/rotator"
)

// patient returns a pool of n keys whose requests wait.
func patient(t testing.TB, n int, wait time.Duration, configure func(*Config)) *Gateway {
	return provision(t, n, func(c *Config) {
		c.MaxWait = wait
		c.Policy.Min = 0
		c.Policy.Jitter = 0
		if configure != nil {
			configure(c)
		}
	})
}

// coolAll makes the pool's keys cool, the first for first, each further one for
// step more.
func coolAll(h *Gateway, first, step time.Duration) {
	pool := h.roster.Load().Pool
	for s := range pool.Len() {
		pool.Cool(time.Now(), rotator.Slot(s), rotator.Cooldown{For: first + time.Duration(s)*step})
	}
}

func TestARequestWaitsForTheSoonestKey(t *testing.T) {
	for _, test := range []struct {
		name   string
		cools  time.Duration
		status int
		after  time.Duration
	}{
		{"a key that comes back in time serves it", 7 * time.Second, 200, 7 * time.Second},
		{"one that comes back at the last moment, too", 10*time.Second - 1, 200, 10*time.Second - 1},
		{"one that comes back later is not waited for", 11 * time.Second, 429, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := patient(t, 3, 10*time.Second, nil)
				coolAll(h, test.cools, time.Hour)
				began := time.Now()
				w, err := testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Post("x"))
				if err != nil || w.Code != test.status || time.Since(began) != test.after {
					t.Errorf("client got %d after %s, %v", w.Code, time.Since(began), err)
				}
				if want := fmt.Sprint(test.cools.Seconds()); w.Code == 429 && w.Header().Get("Retry-After") != want {
					t.Errorf("Retry-After %q, want %s", w.Header().Get("Retry-After"), want)
				}
			})
		})
	}
}

func TestARejectedRequestWaitsAndTriesItsKeysAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 2, time.Minute, nil)
		u := testkit.Script(testkit.Limited, testkit.Limited, testkit.Fine)
		began := time.Now()
		w, err := testkit.Serve(h, u, testkit.Post("the body"))
		if err != nil || w.Code != 200 || time.Since(began) != 40*time.Second {
			t.Errorf("client got %d after %s, %v", w.Code, time.Since(began), err)
		}
		for i, c := range u.Calls {
			if c.Body != "the body" {
				t.Errorf("attempt %d sent %q", i+1, c.Body)
			}
		}
	})
}

func TestAllWaitsOfARequestAreBoundedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 1, 100*time.Second, nil)
		u := testkit.Script(testkit.Limited)
		began := time.Now()
		w, err := testkit.Serve(h, u, testkit.Post("x"))
		if err != nil || w.Code != 429 || len(u.Calls) != 3 || time.Since(began) != 80*time.Second {
			t.Errorf("%d calls, want 3 (at 0, 40 and 80 s); client got %d after %s, %v", len(u.Calls), w.Code, time.Since(began), err)
		}
	})
}

func TestTryDurationBoundsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 1, time.Hour, func(c *Config) { c.TryDuration = 30 * time.Second })
		began := time.Now()
		if w, err := testkit.Serve(h, testkit.Script(testkit.Limited), testkit.Post("x")); err != nil || w.Code != 429 || time.Since(began) != 0 {
			t.Errorf("client got %d after %s, %v", w.Code, time.Since(began), err)
		}
	})
}

// A key takes one request at a time here: of two that go out with it at once, nobody
// knows which comes to the upstream first.
func TestFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const requests = 30
		h := patient(t, requests, time.Hour, func(c *Config) { c.Limit = limitOf(1, 0, 0) })
		coolAll(h, time.Minute, time.Second)
		var mu sync.Mutex
		var order []string
		next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			mu.Lock()
			order = append(order, r.Header.Get("X-Number"))
			mu.Unlock()
			return used.Write(w) // the key is gone again
		})
		var done sync.WaitGroup
		var want []string
		for i := range requests {
			number := fmt.Sprint(i)
			want = append(want, number)
			done.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				r := testkit.Post("x").WithContext(ctx)
				r.Header.Set("X-Number", number)
				testkit.Serve(h, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
					defer cancel() // one attempt is enough
					return next(w, r)
				}), r)
			})
			synctest.Wait() // it stands in the line
		}
		done.Wait()
		if !slices.Equal(order, want) {
			t.Errorf("served in the order %v", order)
		}
	})
}

// Who comes while a line is being served stands at its end, though the keys that cool come
// back too late for it: others are ready.
func TestWhoComesWhileALineIsServedIsServed(t *testing.T) {
	for name, ready := range map[string]func(pool *rotator.Pool, at time.Time){
		"a key is ready": func(*rotator.Pool, time.Time) {},
		"a key may be asked": func(pool *rotator.Pool, at time.Time) {
			pool.Suspect(1, rotator.Refusal{At: at, Stated: time.Hour, Step: time.Hour, Max: time.Hour})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := patient(t, 2, time.Minute, nil)
				pool := h.roster.Load().Pool
				pool.Cool(time.Now(), 0, rotator.Cooldown{For: time.Hour})
				ready(pool, time.Now())
				first := h.room.Join("", "", 1)
				status := make(chan int)
				go func() {
					w, _ := testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Post("x"))
					status <- w.Code
				}()
				synctest.Wait()
				began := time.Now()
				go h.room.Leave(first, false)
				if got := <-status; got != 200 || time.Since(began) != 0 {
					t.Errorf("client got %d after %s", got, time.Since(began))
				}
			})
		})
	}
}

// A key that has refused the first of the line serves the next one meanwhile: nobody waits who
// can be served. The first is served when it may ask again.
func TestAKeyThatIsNotForTheFirstServesTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 1, time.Hour, nil)
		began := time.Now()
		var done sync.WaitGroup
		for i, after := range []time.Duration{40 * time.Second, 5 * time.Second, 5 * time.Second} {
			replies := []testkit.Reply{testkit.Fine}
			if i == 0 {
				replies = []testkit.Reply{testkit.Limited, testkit.Fine}
			}
			done.Go(func() {
				w, err := testkit.Serve(h, testkit.Script(replies...), testkit.Post("x"))
				if err != nil || w.Code != 200 || time.Since(began) != after {
					t.Errorf("number %d: client got %d after %s, %v", i+1, w.Code, time.Since(began), err)
				}
			})
			synctest.Wait()
		}
		time.Sleep(5 * time.Second)
		h.roster.Load().Pool.Clear(time.Now(), 0)
		done.Wait()
	})
}

// The line may have been served, and a key may have come back, since the request found
// that it has to wait: then it goes out as soon as it waits.
func TestAKeyThatComesBackMeanwhileIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 1, time.Minute, nil)
		x := &exchange{g: h, r: testkit.Post("x"), roster: h.roster.Load(), report: new(observe.Report)}
		began := time.Now()
		if !x.wait(began) || time.Since(began) > time.Second {
			t.Errorf("no key after %s", time.Since(began))
		}
	})
}

// A request that waits while a key is ready which has refused it asks that one again when
// it may, though the time at which another one was to come back has passed in vain.
func TestWhoMayAskAKeyAgainDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 2, time.Hour, nil)
		pool := h.roster.Load().Pool
		cool := func(d time.Duration) { pool.Cool(time.Now(), 1, rotator.Cooldown{For: d}) }
		cool(20 * time.Second)
		time.AfterFunc(5*time.Second, func() { pool.Clear(time.Now(), 0) })
		time.AfterFunc(10*time.Second, func() { cool(time.Hour) })
		began := time.Now()
		w, err := testkit.Serve(h, testkit.Script(testkit.Limited, testkit.Fine), testkit.Post("x"))
		if err != nil || w.Code != 200 || time.Since(began) != 40*time.Second {
			t.Errorf("client got %d after %s, %v", w.Code, time.Since(began), err)
		}
	})
}

func TestWhatMakesKeysReadyEndsTheWait(t *testing.T) {
	for _, test := range []struct {
		name string
		act  func(t *testing.T, h *Gateway, keys string)
	}{
		{"an operator clears a key", func(t *testing.T, h *Gateway, _ string) { h.roster.Load().Pool.Clear(time.Now(), 1) }},
		{"an operator enables a key", func(t *testing.T, h *Gateway, _ string) {
			pool := h.roster.Load().Pool
			pool.Disable(time.Now(), 1)
			pool.Clear(time.Now(), 1)
			pool.Enable(time.Now(), 1)
		}},
		{"a key comes into the file", func(t *testing.T, _ *Gateway, keys string) { writeKeys(t, keys, "sk-demo-8", "sk-demo-9") }},
		{"an operator clears a key after a reload of the config", func(t *testing.T, h *Gateway, _ string) {
			next := provision(t, 2, nil)
			h.Close()
			next.KeyPool().Clear(time.Now(), 1)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				keys := filepath.Join(t.TempDir(), "keys")
				writeKeys(t, keys, "sk-demo-8")
				h := patient(t, 2, time.Hour, func(c *Config) { (*c.Keys.Groups)[0].Files = []string{keys} })
				settle()
				coolAll(h, 30*time.Minute, 0)
				served := make(chan int)
				go func() {
					w, _ := testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Post("x"))
					served <- w.Code
				}()
				synctest.Wait()
				began := time.Now()
				test.act(t, h, keys)
				if status := <-served; status != 200 || time.Since(began) > time.Second {
					t.Errorf("client got %d after %s", status, time.Since(began))
				}
			})
		})
	}
}

func TestOnlySoManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 20, time.Hour, func(c *Config) { c.MaxWaiting = 5 })
		coolAll(h, time.Minute, 0)
		var mu sync.Mutex
		got := make(map[int]int)
		var done sync.WaitGroup
		for range 20 {
			done.Go(func() {
				w, _ := testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Post("x"))
				mu.Lock()
				got[w.Code]++
				mu.Unlock()
			})
		}
		synctest.Wait()
		if n := h.room.Waiting(); n != 5 {
			t.Errorf("%d wait", n)
		}
		done.Wait()
		if got[200] != 5 || got[429] != 15 {
			t.Errorf("clients got %v", got)
		}
	})
}

func TestWhoLeavesLeavesTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 1, time.Hour, nil)
		coolAll(h, time.Minute, 0)
		ctx, cancel := context.WithCancel(t.Context())
		status := make(chan int, 2)
		go func() {
			w, _ := testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Post("x").WithContext(ctx))
			status <- w.Code
		}()
		synctest.Wait()
		go func() {
			w, _ := testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Post("x"))
			status <- w.Code
		}()
		synctest.Wait()
		began := time.Now()
		cancel()
		synctest.Wait()
		if got := <-status; got != statusClientGone || time.Since(began) != 0 || h.room.Waiting() != 1 {
			t.Errorf("the log shows %d after %s, %d wait", got, time.Since(began), h.room.Waiting())
		}
		if got := <-status; got != 200 || time.Since(began) != time.Minute {
			t.Errorf("the next one got %d after %s", got, time.Since(began))
		}
	})
}

// A client of HTTP/1.1 that leaves in the middle of its upload is noticed by the
// body alone.
func TestWhoLeavesDuringTheUploadLeavesTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 1, time.Hour, nil)
		coolAll(h, time.Minute, 0)
		pr, pw := io.Pipe()
		status := make(chan int)
		go func() {
			w, _ := testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Upload(pr))
			status <- w.Code
		}()
		io.WriteString(pw, "the first half")
		synctest.Wait()
		pw.CloseWithError(io.ErrUnexpectedEOF)
		if got := <-status; got != statusClientGone {
			t.Errorf("the log shows %d", got)
		}
	})
}

func TestAnUploadGoesOnWhileItsRequestWaits(t *testing.T) {
	for _, size := range []int{100, 100_000, 1 << 20, 17 << 20} { // the last one does not fit into memory
		synctest.Test(t, func(t *testing.T) {
			h := patient(t, 1, time.Hour, nil)
			coolAll(h, time.Minute, 0)
			want := string(testkit.Pattern(0, size))
			pr, pw := io.Pipe()
			go func() {
				for rest := want; rest != ""; {
					n := min(len(rest), 30_000)
					if _, err := io.WriteString(pw, rest[:n]); err != nil {
						return
					}
					rest = rest[n:]
				}
				pw.Close()
			}()
			u := testkit.Script(testkit.Fine)
			w, err := testkit.Serve(h, u, testkit.Upload(pr))
			if err != nil || w.Code != 200 || len(u.Calls) != 1 || u.Calls[0].Body != want {
				t.Errorf("%d bytes: client got %d, %v", size, w.Code, err)
			}
		})
	}
}

// A body that is too large is no client that has left: the upstream's attempt tells
// what is wrong with it.
func TestABodyThatIsTooLargeIsNoClientThatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 1, time.Hour, nil)
		coolAll(h, time.Minute, 0)
		r := testkit.Upload(io.NopCloser(strings.NewReader(strings.Repeat("x", 200_000))))
		r.Body = http.MaxBytesReader(nil, r.Body, 100_000)
		_, err := testkit.Serve(h, testkit.Script(testkit.Fine), r)
		var tooLarge *http.MaxBytesError
		if !errors.As(err, &tooLarge) {
			t.Errorf("error %v", err)
		}
	})
}

func TestEachModelHasItsLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 1, time.Hour, func(c *Config) { c.ByModel = true })
		pool := h.roster.Load().Pool
		pool.Cool(time.Now(), 0, rotator.Cooldown{For: time.Minute, Scope: "gpt-a"})
		began := time.Now()
		var done sync.WaitGroup
		for model, after := range map[string]time.Duration{"gpt-a": time.Minute, "gpt-b": 0} {
			done.Go(func() {
				w, err := testkit.Serve(h, testkit.Script(testkit.Fine), asking(model))
				if err != nil || w.Code != 200 || time.Since(began) != after {
					t.Errorf("%s: client got %d after %s, %v", model, w.Code, time.Since(began), err)
				}
			})
		}
		done.Wait()
	})
}

func TestWhereNoKeyWouldComeNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 2, time.Hour, func(c *Config) { c.Rules = []blame.Rule{{Status: []int{503}, Action: "retry"}} })
		began := time.Now()
		if w, _ := testkit.Serve(h, testkit.Script(testkit.Reply{Status: 503}), testkit.Post("x")); w.Code != 503 || time.Since(began) != 0 {
			t.Errorf("keys that are ready and were tried: client got %d after %s", w.Code, time.Since(began))
		}
		for s := range rotator.Slot(2) {
			h.roster.Load().Pool.Disable(time.Now(), s)
		}
		if w, _ := testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Post("x")); w.Code != 503 || time.Since(began) != 0 {
			t.Errorf("keys that are disabled: client got %d after %s", w.Code, time.Since(began))
		}
	})
}

// Many requests that come and go at random, keys that cool at random: everybody is
// served as soon as a key is there, or has waited for as long as he may.
func TestNobodyIsForgottenInTheLine(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			h := patient(t, 5, 30*time.Second, func(c *Config) { c.MaxAttempts = 1000 })
			comeAndGo(t, h, seed, func(int) *http.Request { return testkit.Post("x") })
		})
	}
}

// So it is where they are of several clients, for which there is not always room.
func TestNobodyOfAnyClientIsForgotten(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			h := sharing(t, 5, func(c *Config) { c.MaxWait, c.MaxAttempts, c.MaxWaiting, c.Limit = 30*time.Second, 1000, 20, nil })
			weigh(h, map[string]int{"batch": 5, "chat": 4})
			comeAndGo(t, h, seed, func(i int) *http.Request { return asked([]string{"batch", "batch", "chat"}[i%3]) })
		})
	}
}

// comeAndGo sends 300 requests, one every two seconds or so, to keys of which two calls of
// three meet a limit.
func comeAndGo(t *testing.T, h *Gateway, seed uint64, request func(int) *http.Request) {
	random := rand.New(rand.NewPCG(seed, 0))
	var mu sync.Mutex
	got := make(map[int]int)
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		mu.Lock()
		rejects, wait := random.IntN(3) > 0, random.IntN(15)
		mu.Unlock()
		if !rejects {
			return testkit.Fine.Write(w)
		}
		return testkit.Reply{Status: 429, Header: map[string]string{"Retry-After": fmt.Sprint(wait + 1)}}.Write(w)
	})
	var done sync.WaitGroup
	for i := range 300 {
		mu.Lock()
		pause := time.Duration(random.IntN(4000)) * time.Millisecond
		leaves := random.IntN(4) == 0
		mu.Unlock()
		time.Sleep(pause)
		done.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if leaves {
				time.AfterFunc(5*time.Second, cancel)
			}
			began := time.Now()
			w, _ := testkit.Serve(h, next, request(i).WithContext(ctx))
			mu.Lock()
			got[w.Code]++
			mu.Unlock()
			if took := time.Since(began); took > 30*time.Second || leaves && took > 5*time.Second {
				t.Errorf("seed %d: a client got %d after %s", seed, w.Code, took)
			}
		})
	}
	done.Wait()
	if got[200] < 100 || h.room.Waiting() != 0 || h.room.Occupied("") {
		t.Errorf("seed %d: clients got %v; %d wait", seed, got, h.room.Waiting())
	}
}

// uploadInVain uploads to a pool whose key comes too late for who waits, over HTTP/1 and 2: each
// is called for both. The handler is the server's.
func uploadInVain(t *testing.T, configure func(*Config), handler func(h *Gateway, w http.ResponseWriter, r *http.Request), each func(send func(body io.Reader) *http.Response)) {
	t.Helper()
	h := patient(t, 1, 200*time.Millisecond, configure)
	coolAll(h, 100*time.Millisecond, 0)
	first := h.room.Join("", "", 1) // who never goes
	defer h.room.Leave(first, false)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler(h, w, r) }))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for _, version := range []int{1, 2} {
		transport := server.Client().Transport.(*http.Transport).Clone()
		transport.ForceAttemptHTTP2 = version == 2
		transport.TLSClientConfig.NextProtos = map[int][]string{1: {"http/1.1"}, 2: {"h2"}}[version]
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		each(func(body io.Reader) *http.Response {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, body)
			if err != nil {
				t.Fatal(err)
			}
			res, err := transport.RoundTrip(r)
			if err != nil || res.ProtoMajor != version {
				t.Fatalf("HTTP/%d: %v, %v", version, res, err)
			}
			return res
		})
		transport.CloseIdleConnections()
	}
}

// A request that has waited in vain is answered although its client is still
// uploading, and has paused.
func TestAnUploadDoesNotHoldTheAnswerBack(t *testing.T) {
	uploadInVain(t, nil, func(h *Gateway, w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r, testkit.Script(testkit.Fine))
	}, func(send func(io.Reader) *http.Response) {
		pr, pw := io.Pipe()
		go io.WriteString(pw, strings.Repeat("x", 100_000))
		res := send(pr)
		if res.StatusCode != http.StatusTooManyRequests {
			t.Fatalf("%s: %s", res.Proto, res.Status)
		}
		res.Body.Close()
		pw.Close()
	})
}

// Who handles the error of a request that has waited in vain gets its body whole, though that
// has not all come yet.
func TestAnUploadThatWaitedInVainIsHandedOn(t *testing.T) {
	raised := make(chan error, 2)
	uploadInVain(t, raising, func(h *Gateway, w http.ResponseWriter, r *http.Request) {
		raised <- h.ServeHTTP(w, r, testkit.Script(testkit.Fine))
		body, err := io.ReadAll(r.Body)
		fmt.Fprint(w, len(body), err)
	}, func(send func(io.Reader) *http.Response) {
		pr, pw := io.Pipe()
		go func() {
			io.WriteString(pw, strings.Repeat("x", 100_000))
			if err := <-raised; err == nil {
				t.Error("nothing was raised")
			}
			io.WriteString(pw, strings.Repeat("x", 100_000))
			pw.Close()
		}()
		res := send(pr)
		if got, err := io.ReadAll(res.Body); string(got) != "200000 <nil>" {
			t.Errorf("%s: who comes after us has read %s; %v", res.Proto, got, err)
		}
		res.Body.Close()
	})
}

func TestWaitsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 1, time.Minute, func(c *Config) { c.Pool, c.MaxWaiting = testkit.FreshPool("waits-test"), 2 })
		registry := prometheus.NewRegistry()
		if _, err := observe.NewMetrics(registry, h.seen); err != nil {
			t.Fatal(err)
		}
		coolAll(h, 30*time.Second, 0)
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		for _, r := range []*http.Request{testkit.Post("x"), testkit.Post("x").WithContext(ctx), testkit.Post("x")} {
			done.Go(func() { testkit.Serve(h, testkit.Script(testkit.Fine), r) })
			synctest.Wait()
		}
		name := func(outcome string) string {
			return fmt.Sprintf("caddy_keycycler_waits_total{outcome=%q,pool=%q}", outcome, h.Pool)
		}
		waiting := fmt.Sprintf("caddy_keycycler_waiting_requests{pool=%q}", h.Pool)
		if got := gather(t, registry); got[name(waitFull)] != 1 || got[waiting] != 2 {
			t.Errorf("%v were too many, %v wait", got[name(waitFull)], got[waiting])
		}
		cancel()
		done.Wait()
		if got := gather(t, registry); got[name(waitCanceled)] != 1 || got[name(waitReady)] != 1 || got[waiting] != 0 {
			t.Errorf("%v left, %v were served, %v wait", got[name(waitCanceled)], got[name(waitReady)], got[waiting])
		}
	})
}

// A request that ends with a key which is at its limit makes it ready for the first
// one in the line, at once.
func TestAKeyThatIsFreeAgainServesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const requests = 30
		h := patient(t, 2, time.Hour, func(c *Config) { c.Limit = limitOf(3, 0, 0) })
		var mu sync.Mutex
		open, most := make(map[string]int), make(map[string]int)
		next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			key := r.Header.Get("Authorization")
			mu.Lock()
			open[key]++
			most[key] = max(most[key], open[key])
			mu.Unlock()
			time.Sleep(10 * time.Second)
			mu.Lock()
			open[key]--
			mu.Unlock()
			return testkit.Fine.Write(w)
		})
		began := time.Now()
		var done sync.WaitGroup
		for i := range requests {
			done.Go(func() {
				if w, err := testkit.Serve(h, next, testkit.Post("x")); err != nil || w.Code != 200 {
					t.Errorf("request %d: client got %d, %v", i, w.Code, err)
				}
			})
			synctest.Wait()
		}
		done.Wait()
		if took := time.Since(began); took != 50*time.Second {
			t.Errorf("6 at a time of %d requests of 10 s took %s, want 50s", requests, took)
		}
		for key, n := range most {
			if n != 3 {
				t.Errorf("up to %d requests were under way with one key (%s…)", n, key[:7])
			}
		}
	})
}

// Who waits for the key that has made a resource does not keep others from the other
// keys.
func TestWhoWaitsForOneKeyHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 2, time.Hour, nil)
		pool := h.roster.Load().Pool
		pool.Own(time.Now(), 0, rotator.ResourceOf([]byte("file-demo-1")))
		pool.Cool(time.Now(), 0, rotator.Cooldown{For: time.Minute})
		began := time.Now()
		var done sync.WaitGroup
		for path, after := range map[string]time.Duration{"/v1/files/file-demo-1": time.Minute, "/v1/models": 0} {
			done.Go(func() {
				w, err := testkit.Serve(h, testkit.Script(testkit.Fine), httptest.NewRequest("GET", path, nil))
				if err != nil || w.Code != 200 || time.Since(began) != after {
					t.Errorf("%s: client got %d after %s, %v", path, w.Code, time.Since(began), err)
				}
			})
			synctest.Wait()
		}
		done.Wait()
	})
}

// Who waits does not go out while the pool is closed, but for one now and then; and all
// do when it is open again.
func TestAClosedPoolIsClosedForWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 500, time.Hour, func(c *Config) { c.Pool, c.Limit = "closed-for-who-waits", limitOf(1, 0, 0) })
		silence(h)
		coolAll(h, time.Minute, 20*time.Millisecond)
		var calls, refusing atomic.Int64
		refusing.Store(1)
		next := handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			calls.Add(1)
			time.Sleep(time.Millisecond)
			if refusing.Load() == 1 {
				return testkit.Limited.Write(w)
			}
			return testkit.Fine.Write(w)
		})
		var done sync.WaitGroup
		for range 400 {
			done.Go(func() { _, _ = testkit.Serve(h, next, testkit.Post("x")) })
		}
		synctest.Wait()
		time.Sleep(time.Minute + 5*time.Second)
		// 250 keys have come back, one every 20 ms: each is asked once at most.
		soon := calls.Load()
		if soon < 10 || soon > 250 {
			t.Errorf("%d calls in five seconds", soon)
		}
		if n := h.room.Waiting(); n < 400-soon {
			t.Errorf("only %d still wait", n)
		}
		time.Sleep(time.Minute)
		if n := calls.Load(); n > soon+10 {
			t.Errorf("%d calls in another minute", n-soon)
		}
		refusing.Store(0)
		began := time.Now()
		done.Wait()
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("it took %s until all were served", took)
		}
	})
}

// When the process stops nobody waits any more.
func TestWhoWaitsIsSentAwayWhenTheProcessStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(t, 1, time.Hour, nil)
		coolAll(h, 30*time.Minute, 0)
		var done sync.WaitGroup
		ask := func() {
			w, _ := testkit.Serve(h, testkit.Script(testkit.Fine), testkit.Post("x"))
			if w.Code != 503 || w.Header().Get("Retry-After") != "1" || w.Header().Get("Connection") != "close" || !strings.Contains(w.Body.String(), "stopping") {
				t.Errorf("client got %d %v %s", w.Code, w.Header(), w.Body)
			}
		}
		for range 10 {
			done.Go(ask)
		}
		synctest.Wait()
		began := time.Now()
		h.room.Close()
		done.Wait()
		ask()
		if time.Since(began) != 0 {
			t.Errorf("it took %s", time.Since(began))
		}
	})
}
