package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/rotator"
)

// The fault matrix: what goes wrong, and what comes of it for the client, the
// upstream and the keys. After each fault everything that it took must be back:
// goroutines, file descriptors, temporary files, memory. The table of
// docs/faults.md is made of these cases. Their files are matrix_*.go. What happens to a
// whole process is in nodes.

// faultCase is a fault, and what must come of it.
type faultCase struct {
	fault  string // what goes wrong
	client result // what the client gets
	calls  int    // what the upstream sees
	body   upload // of each call
	cools  int    // keys: those of the first calls

	// Whether it takes a while: then it is played again, and the config is reloaded
	// in the midst of it.
	lasts bool

	slow bool // ten seconds: KEYCYCLER_LONG=1 runs it

	options string   // of the pool
	proxy   string   // of reverse_proxy
	again   bool     // transport keycycler sends the call again, and it is served
	answers []onWire // of the upstream, by call; the last one answers all that follow
	frames  []framed // likewise, of an upstream that speaks HTTP/2

	// What the client does; nil means that it asks, and reads the answer.
	acts func(*stage) result
}

// What stands in so many cases goes by a short name.
type result = live.Result

const (
	served    = live.Served
	cutOff    = live.CutOff
	cutOff400 = live.CutOff400
	passedOn  = live.PassedOn
	badGate   = live.BadGate
	timedOut  = live.TimedOut
	hasLeft   = live.HasLeft
	turnedOff = live.TurnedOff

	question  = live.Question
	theAnswer = live.TheAnswer
)

// upload is how much of the body a call of the upstream's had.
type upload string

const (
	whole  upload = ""
	cut    upload = ", cut off"
	unread upload = ", and does not read the body"
	noBody upload = ", without a body"
	late   upload = ", the first before it has read the body"
)

const (
	quickPath = "/quick" // where the upstream answers at once, whatever else it does
	quickText = "quick"
)

// stage is what a case is played on.
type stage struct {
	t       *testing.T
	g       *gateway
	c       *faultCase
	pool    string
	client  *http.Client
	url     string
	reload  func()        // in the midst; nil: no reload
	reached chan struct{} // the upstream is in the midst of the fault …
	goOn    chan struct{} // … and goes on when the test says so
	reach   func()
	release func()
	scripts sync.WaitGroup // the upstream's answers under way

	mu    sync.Mutex
	calls []*seenCall
}

// seenCall is a call as the upstream saw it. Lock the stage to read it.
type seenCall struct {
	key  string
	body []byte
	end  bool // the body was whole
}

func TestFaultMatrix(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	g := newGateway(t)
	g.global = "servers {\nprotocols h1 h2\n}"
	g.level = "WARN" // zap keeps the buffers of lines that show a large header
	g.start("respond idle")
	m := &matrix{t: t, g: g, tmp: tmp}
	for range 2 { // what is made once, and kept
		m.playOn(t, warmUp, false, startWire)
	}
	for _, c := range slices.Concat(upstreamFaults, http2Faults, clientFaults) {
		for _, reload := range []bool{false, true} {
			if reload && !c.lasts || c.lasts && !reload && !live.Long() { // the same, with less in it
				continue
			}
			t.Run(c.name(reload), func(t *testing.T) {
				if c.slow && !live.Long() {
					t.Skip("it takes long: KEYCYCLER_LONG=1 runs it")
				}
				m.play(t, c, reload)
			})
		}
	}
}

func (c *faultCase) name(reload bool) string {
	if reload {
		return c.fault + ", and a reload"
	}
	return c.fault
}

var warmUp = faultCase{fault: "none", client: served, calls: 2, cools: 1, acts: overHTTP2(ask), answers: []onWire{says(limited), says(fine)}}

// matrix plays cases on one gateway.
type matrix struct {
	t      *testing.T
	g      *gateway
	tmp    string
	played int
}

// play plays a case, once for each kind of upstream that it is about.
func (m *matrix) play(t *testing.T, c faultCase, reload bool) {
	if c.frames == nil {
		m.playOn(t, c, reload, startWire)
		if live.Long() {
			c.proxy = strings.Replace(c.proxy, "transport http", "transport keycycler", 1)
			t.Run("transport keycycler", func(t *testing.T) { m.playOn(t, c, reload, carried(startWire)) })
		}
		return
	}
	t.Run("h2c", func(t *testing.T) { m.playOn(t, c, reload, startH2C) })
	t.Run("TLS", func(t *testing.T) { m.playOn(t, c, reload, startH2TLS) })
	if c.again {
		c.client, c.calls = served, 2
	}
	t.Run("h2c, transport keycycler", func(t *testing.T) { m.playOn(t, c, reload, carried(startH2C)) })
	t.Run("TLS, transport keycycler", func(t *testing.T) { m.playOn(t, c, reload, carried(startH2TLS)) })
}

// carried is the start of an upstream that is reached by transport keycycler.
func carried(start func(*stage) (upstream, proxy string, end func())) func(*stage) (upstream, proxy string, end func()) {
	return func(s *stage) (upstream, proxy string, end func()) {
		upstream, proxy, end = start(s)
		if proxy == "" && !strings.Contains(s.c.proxy, "transport ") {
			proxy = "transport keycycler"
		}
		return upstream, strings.Replace(proxy, "transport http", "transport keycycler", 1), end
	}
}

func (m *matrix) playOn(t *testing.T, c faultCase, reload bool, start func(*stage) (upstream, proxy string, end func())) {
	m.played++
	m.g.t = t
	defer func() { m.g.t = m.t }()
	before := m.take()
	s := newStage(t, m.g, &c)
	s.pool = fmt.Sprint("case-", m.played)
	upstream, proxy, end := start(s)
	config := func(attempts int) string {
		return fmt.Sprintf("keycycler %s {\n keys %s\n max_attempts %d\n %s\n}\nreverse_proxy %s {\n %s\n %s\n}",
			s.pool, s.keys(), attempts, c.options, upstream, proxy, c.proxy)
	}
	m.g.load(config(4))
	if reload {
		s.reload = func() { m.g.load(config(5)) }
	}
	client := c.acts
	if client == nil {
		client = ask
	}
	if got := client(s); got != c.client {
		t.Errorf("the client got %s, want %s", got, c.client)
	}
	s.release()
	if c.frames == nil { // connections of HTTP/2 stay
		s.ended()
	}
	s.checkCalls()
	s.checkCooling()
	s.client.CloseIdleConnections()
	m.g.load("respond idle")
	end()
	s.ended()
	m.returned(t, before)
}

func newStage(t *testing.T, g *gateway, c *faultCase) *stage {
	s := &stage{
		t: t, g: g, c: c, url: g.plain,
		client:  live.Patient(&http.Transport{}),
		reached: make(chan struct{}), goOn: make(chan struct{}),
	}
	s.reach = sync.OnceFunc(func() { close(s.reached) })
	s.release = sync.OnceFunc(func() { close(s.goOn) })
	return s
}

// keys returns the case's own keys.
func (s *stage) keys() string {
	var keys []string
	for i := range 5 {
		keys = append(keys, fmt.Sprintf("sk-demo-%s-%d", s.pool, i))
	}
	return strings.Join(keys, " ")
}

// call notes a call and returns it with its number.
func (s *stage) call(r *http.Request) (*seenCall, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &seenCall{key: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")}
	s.calls = append(s.calls, c)
	return c, len(s.calls) - 1
}

// got notes what came of a call's body.
func (s *stage) got(c *seenCall, p []byte, end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.body, c.end = append(c.body, p...), end
}

// received returns how many bytes of bodies the upstream has got.
func (s *stage) received() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		n += len(c.body)
	}
	return n
}

// inTheMidst waits until the upstream is in the midst of the fault. Another request
// of the same pool is answered meanwhile. In cases with a reload, that comes next.
func (s *stage) inTheMidst() {
	s.t.Helper()
	select {
	case <-s.reached:
	case <-time.After(live.Patience):
		s.t.Fatal("the upstream is not in the midst of the fault")
	}
	s.quick()
	if s.reload != nil {
		s.reload()
		s.quick()
	}
}

// quick sends a request that nothing may hold up.
func (s *stage) quick() {
	s.t.Helper()
	client := live.Patient(&http.Transport{DisableKeepAlives: true})
	if res, body := live.Do(s.t, client, live.Request(s.t, http.MethodGet, s.g.plain+quickPath, "")); string(body) != quickText {
		s.t.Errorf("another request of the pool got %s %q", res.Status, body)
	}
}

// ask sends the question and reads the answer.
func ask(s *stage) result { return s.send(live.Request(s.t, http.MethodPost, s.url, question)) }

// askLasting does so, and is there in the midst of it.
func askLasting(s *stage) result {
	done := make(chan result, 1)
	go func() { done <- ask(s) }()
	s.inTheMidst()
	s.release()
	return live.Receive(s.t, "the client gets an answer", done)
}

// send sends r and tells what came of it. It may be called from any goroutine.
func (s *stage) send(r *http.Request) result {
	res, err := s.client.Do(r)
	if err != nil {
		return result(fmt.Sprintf("no answer: %v", err))
	}
	defer res.Body.Close()
	return live.ResultOf(res, theAnswer)
}

// ended waits until the upstream is done with all calls.
func (s *stage) ended() {
	s.t.Helper()
	done := make(chan struct{})
	go func() {
		s.scripts.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(live.Patience):
		s.t.Fatalf("the upstream still waits for the gateway:\n%s", live.Stacks())
	}
}

// checkCalls compares what the upstream saw.
func (s *stage) checkCalls() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) != s.c.calls {
		s.t.Errorf("the upstream saw %d calls, want %d", len(s.calls), s.c.calls)
	}
	for i, c := range s.calls {
		ok := c.end && len(c.body) > 0
		kind := s.c.body
		if kind == late && i == 0 {
			kind = unread
		}
		switch kind {
		case cut:
			ok = !c.end
		case unread:
			ok = len(c.body) == 0
		case noBody:
			ok = c.end && len(c.body) == 0
		}
		if !ok {
			s.t.Errorf("call %d had %d bytes of body, whole: %t; want it%s", i+1, len(c.body), c.end, s.c.body)
		}
		if c.end && len(c.body) > 0 && !bytes.Equal(c.body, s.calls[len(s.calls)-1].body) {
			s.t.Errorf("call %d had another body than the last", i+1)
		}
		if first := s.calls[0].key; !strings.HasPrefix(c.key, "sk-demo-"+s.pool) || i > 0 && (c.key == first) != (s.c.cools == 0) {
			s.t.Errorf("call %d had key %q, the first %q", i+1, c.key, first)
		}
	}
}

// checkCooling compares which keys cool: those of the first calls.
func (s *stage) checkCooling() {
	s.t.Helper()
	var want []string
	for _, c := range s.calls[:min(s.c.cools, len(s.calls))] {
		want = append(want, rotator.IDOf(c.key).String())
	}
	slices.Sort(want)
	var got []string
	live.Eventually(s.t, "the rejected keys cool", func() bool { // where the client has left, the answer may take longer
		got = coolingKeys(s.t, s.pool)
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		s.t.Errorf("keys that cool: %v, want %v", got, want)
	}
}

// coolingKeys asks this process's admin API, in order.
func coolingKeys(t *testing.T, pool string) (ids []string) {
	t.Helper()
	module, err := caddy.GetModule("admin.api.keycycler")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, route := range module.New().(caddy.AdminRouter).Routes() {
		mux.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := route.Handler.ServeHTTP(w, r); err != nil {
				t.Error(err)
			}
		})
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/keycycler/pools/"+pool+"/keys?state=cooling", nil))
	var list struct{ Keys []struct{ ID string } }
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	for _, k := range list.Keys {
		ids = append(ids, k.ID)
	}
	return ids
}

func (m *matrix) take() live.Taken {
	runtime.GC() // twice: what sync.Pool keeps is gone then
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return live.Taken{
		Goroutines: runtime.NumGoroutine(), Heap: mem.HeapAlloc,
		Descriptors: live.Entries(m.t, "/proc/self/fd"), Files: live.Entries(m.t, m.tmp),
	}
}

// returned waits until everything is back that was taken since.
func (m *matrix) returned(t *testing.T, before live.Taken) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	now := m.take()
	for deadline := time.Now().Add(live.Patience); !now.Back(before) && time.Now().Before(deadline); now = m.take() {
		<-tick.C
	}
	if now.Back(before) {
		return
	}
	t.Errorf("before: %+v, now: %+v", before, now)
	if now.Goroutines > before.Goroutines {
		t.Logf("%s", live.Stacks())
	}
}
