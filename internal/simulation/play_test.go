package simulation

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// scenario is what happens to one pool.
type scenario struct {
	keys    int
	rate    func(at time.Duration) float64 // of ordinary requests, a second
	length  time.Duration
	poisson bool // they come at random, and not regularly
	warm    bool // the pool has served each key's requests before
	speed
	clients int      // addresses that ordinary requests come from; 0: one
	models  []string // that they name in turn; nil: none
	takes   func(r *rand.Rand) time.Duration
	upload  bool // half of the ordinary requests have a body that cannot be sent again, from mended on
	odd     odd

	rule func() rule                          // how the upstream answers, anew for each run
	well func(at time.Duration, key int) bool // whether the key serves all ordinary requests; nil: it is of no account

	setup
	twist twist
}

// speed is how long the upstream takes.
type speed struct {
	name            string
	serves, refuses time.Duration
}

var (
	quick = speed{"20ms", 20 * time.Millisecond, 20 * time.Millisecond}
	slow  = speed{"3s", 3 * time.Second, 3 * time.Second}
	late  = speed{"3s/20ms", 3 * time.Second, 20 * time.Millisecond}
)

// odd says which requests come that the upstream refuses whatever their key.
type odd struct {
	name   string
	once   int                      // so many at one time …
	rate   func(of float64) float64 // … or so many a second, beside so many ordinary ones
	others bool                     // each is of another shape: path, client and model
}

// visit is one request of a client's, and what came of it.
type visit struct {
	at     time.Duration // when it comes
	odd    bool
	shape  int           // of an odd one
	turn   int           // of an ordinary one: which it is
	model  string        // that it names
	upload bool          // its body cannot be sent again
	took   time.Duration // how long it takes to be served, at least
	leave  context.CancelFunc

	end    time.Duration
	status int
	body   string // of what is no success
}

type visitKey struct{}

func (v *visit) served() bool { return v.status == http.StatusOK }
func (v *visit) failed() bool { return v.status != http.StatusOK && v.status != statusLeft }

// statusLeft is that of a client who did not wait for an answer.
const statusLeft = 499

// result is what came of a scenario.
type result struct {
	scenario
	visits  []*visit // of the situation: without those before it
	calls   []seen   // likewise
	most    int      // calls under way at a time
	wrongly float64  // key-seconds in which a key cooled that would have served
	ended   int      // keys that cool at the end, and would serve
}

// steady is a rate that stays.
func steady(rate float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return rate }
}

// ordinary is the rate of what is not said otherwise.
const ordinary = 10

// calmer is the usual rate until a time, and another one later: what is learned within
// days does not need a million of requests.
func calmer(until time.Duration, rate float64) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		if at < until {
			return ordinary
		}
		return rate
	}
}

// arrivals returns the requests in the order in which they come.
func (s *scenario) arrivals() (all []*visit) {
	r := rand.New(rand.NewPCG(7, uint64(s.keys)))
	gap := func(rate float64) time.Duration {
		d := float64(time.Second) / rate
		if s.poisson {
			d *= r.ExpFloat64()
		}
		return time.Duration(d)
	}
	if s.warm {
		rate := max(s.rate(0), float64(s.keys)/20)
		for at := gap(rate) - warmUp; at < 0; at += gap(rate) {
			all = append(all, &visit{at: at})
		}
	}
	for at := gap(s.rate(0)); at < s.length; at += gap(s.rate(at)) {
		all = append(all, &visit{at: at})
	}
	for i, v := range all {
		s.dress(v, i, r)
	}
	return merge(all, s.oddOnes(gap))
}

// warmUp is for how long a warm pool has served before the situation begins.
const warmUp = 30 * time.Second

// dress gives an ordinary request what it asks for.
func (s *scenario) dress(v *visit, i int, r *rand.Rand) {
	v.turn, v.upload = i, s.upload && v.at >= mended && i%2 == 0
	if s.models != nil {
		v.model = s.models[i%len(s.models)]
	}
	if s.takes != nil && v.at >= 0 {
		v.took = s.takes(r)
	}
}

// oddOnes come at the very beginning to a fresh pool, and in the midst to a warm one.
func (s *scenario) oddOnes(gap func(rate float64) time.Duration) (all []*visit) {
	from := 50 * time.Millisecond
	if s.warm {
		from = 5 * time.Second
	}
	for range s.odd.once {
		all = append(all, &visit{at: from, odd: true})
	}
	if s.odd.rate != nil {
		for at := from; at < s.length; at += gap(s.odd.rate(s.rate(at))) {
			all = append(all, &visit{at: at, odd: true})
		}
	}
	for i, v := range all {
		if s.odd.others {
			v.shape = i + 1
		}
	}
	return all
}

func merge(a, b []*visit) []*visit {
	all := make([]*visit, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		from := &a
		if b[0].at < a[0].at {
			from = &b
		}
		all = append(all, (*from)[0])
		*from = (*from)[1:]
	}
	return append(append(all, a...), b...)
}

// play plays the scenario in a bubble of its own.
func (s scenario) play(t *testing.T) (r *result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r = &result{scenario: s}
		visits := s.arrivals()
		for i, v := range visits {
			if v.at >= 0 {
				r.visits = visits[i:]
				break
			}
		}
		st := newStage(t, &r.scenario)
		defer time.Sleep(time.Second) // what nodes tell each other comes to its end
		defer st.close()
		r.run(st, visits)
		r.calls, r.most = st.upstream.calls, st.upstream.most
	})
	return r
}

// run sends the visits and looks at the keys meanwhile.
func (r *result) run(st *stage, visits []*visit) {
	var clients sync.WaitGroup
	over, next := make(chan struct{}), make(chan *visit)
	clients.Go(func() { r.watch(st, over) })
	clients.Go(func() { st.turn(over) })
	for _, v := range visits {
		if wait := time.Until(st.upstream.began.Add(v.at)); wait > 0 {
			time.Sleep(wait)
		}
		select {
		case next <- v:
		default: // all clients are busy
			clients.Go(func() { st.client(v, next) })
		}
	}
	close(over)
	close(next)
	clients.Wait()
}

// client sends a request, and others once it has its answer.
func (st *stage) client(v *visit, next <-chan *visit) {
	for ok := true; ok; v, ok = <-next {
		st.ask(v)
	}
}

// watch adds up for how long keys cool that would serve.
func (r *result) watch(st *stage, over <-chan struct{}) {
	if r.well == nil {
		return
	}
	step := time.Second
	if r.length > time.Hour {
		step = time.Minute
	}
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case now := <-tick.C:
			at := now.Sub(st.upstream.began)
			r.ended = 0
			for _, key := range st.cooling(now) {
				if at >= 0 && r.well(at, key) {
					r.ended++
				}
			}
			r.wrongly += float64(r.ended) * step.Seconds()
		}
	}
}

// ask sends a request to one of the gateways, and notes the answer.
func (st *stage) ask(v *visit) {
	w := &answer{header: make(http.Header)}
	ctx, leave := context.WithCancel(st.contextOf(v))
	defer leave()
	v.leave = leave
	err := st.gatewayOf(v).ServeHTTP(w, st.request(v).WithContext(ctx), st.upstream)
	v.end, v.status, v.body = time.Since(st.upstream.began), w.status, string(w.body)
	switch {
	case ctx.Err() != nil:
		v.status = statusLeft
	case err != nil:
		v.status = http.StatusBadGateway
	}
}

// clientOf is the address that a request comes from.
func (st *stage) clientOf(v *visit) string {
	if v.odd {
		return "198.51.100." + strconv.Itoa(v.shape%250)
	}
	return "192.0.2." + strconv.Itoa(v.turn%max(st.clients, 1))
}

func (st *stage) contextOf(v *visit) context.Context {
	vars := map[string]any{caddyhttp.ClientIPVarKey: st.clientOf(v)}
	return context.WithValue(context.WithValue(context.Background(), visitKey{}, v), caddyhttp.VarsCtxKey, vars)
}

// request is what the gateway gets. An odd one is of another path, and of a client's who
// sends no other requests.
func (st *stage) request(v *visit) *http.Request {
	r := &http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: "/v1/chat/completions"}, Host: "gateway.test",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header, 2), Body: http.NoBody, RemoteAddr: st.clientOf(v) + ":40000",
	}
	model := v.model
	if v.odd {
		r.Method, r.URL.Path = http.MethodGet, "/v1/organizations/users"
	}
	if v.odd && v.shape > 0 {
		r.Method, r.URL.Path, model = http.MethodPost, "/v1/odd/"+strconv.Itoa(v.shape), "odd-"+strconv.Itoa(v.shape)
	}
	if path, ok := st.paths[model]; ok {
		r.URL.Path = path
	}
	if model != "" || v.upload {
		fill(r, `{"model":"`+model+`"}`)
	}
	if v.upload {
		r.ContentLength = -1
	}
	return r
}

func fill(r *http.Request, body string) {
	r.Header.Set("Content-Type", "application/json")
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
}

// answer keeps the status and, of what is no success, the beginning of the body.
type answer struct {
	header http.Header
	status int
	body   []byte
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.status != http.StatusOK {
		a.body = append(a.body, p[:min(len(p), 400-min(len(a.body), 400))]...)
	}
	return len(p), nil
}
