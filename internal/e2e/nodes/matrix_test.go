//go:build unix

package nodes

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/keycycler/keycycler/internal/testkit/live"
	"github.com/keycycler/keycycler/rotator"
)

// The faults of the machine, and of who operates it, happen to a process of its own.

// nodeFault is a fault that happens to a node.
type nodeFault struct {
	live.Fault
	limits string // of the process
	tmp    string // its TMPDIR, if that is not one of its own
	serves bool   // the upstream rejects nothing
	asks   func(*nodeStage) live.Result
}

// nodeStage is what it is played on.
type nodeStage struct {
	*testing.T
	node     *node
	upstream *live.Provider
	begun    atomic.Int32  // calls that the upstream serves
	end      chan struct{} // of its streams
}

var nodeFaults = []nodeFault{
	{
		Fault:  live.Fault{What: "The disk is full, a body has outgrown memory, and the upstream sends a 429", Client: live.PassedOn, Calls: 1, Cools: 1},
		limits: "-f 2048", asks: askLarge,
	},
	{
		Fault:  live.Fault{What: "… likewise, and the upstream answers", Client: live.Served, Calls: 1},
		limits: "-f 2048", serves: true, asks: askLarge,
	},
	{
		Fault: live.Fault{What: "The directory for temporary files cannot be written, and the upstream sends a 429", Client: live.PassedOn, Calls: 1, Cools: 1},
		tmp:   "/dev/null", asks: askLarge,
	},
	{
		Fault: live.Fault{What: "… nor can it, and the upstream answers", Client: live.Served, Calls: 1},
		tmp:   "/dev/null", serves: true, asks: askLarge,
	},
	{
		Fault:  live.Fault{What: "2 of 1,000 file descriptors are left: the client's and the upstream's", Client: live.Served, Calls: 1},
		limits: "-n 1000", serves: true, asks: withDescriptorsLeft(2, askSmall),
	},
	{
		Fault:  live.Fault{What: "… likewise, the upstream sends a 429, and the body would need a third for its temporary file", Client: live.PassedOn, Calls: 1, Cools: 1},
		limits: "-n 1000", asks: withDescriptorsLeft(2, askLarge),
	},
	{
		Fault:  live.Fault{What: "3 are left, and the upstream sends a 429, and closes the connection", Client: live.Served, Calls: 2, Cools: 1},
		limits: "-n 1000", asks: withDescriptorsLeft(3, askSmall),
	},
	{
		Fault:  live.Fault{What: "1 is left: none for the upstream", Client: live.BadGate},
		limits: "-n 1000", asks: withDescriptorsLeft(1, askSmall),
	},
	{
		Fault:  live.Fault{What: "None is left, until other clients leave", Client: live.Served, Calls: 2, Cools: 1},
		limits: "-n 1000", asks: askWhenFull,
	},
	{
		Fault:  live.Fault{What: "SIGTERM, while 20 clients upload and 20 read a stream", Client: live.Served, Calls: 40},
		serves: true, asks: askUntilTheEnd,
	},
}

func TestNodeFaultMatrix(t *testing.T) {
	t.Parallel()
	for _, f := range nodeFaults {
		t.Run(f.What, func(t *testing.T) { f.play(t) })
	}
}

// The page's table is made of the cases: what stands there is what is tested.
func TestNodeFaultMatrixStandsInThePage(t *testing.T) {
	var faults []live.Fault
	for _, f := range nodeFaults {
		faults = append(faults, f.Fault)
	}
	live.InThePage(t, faults)
}

func (f nodeFault) play(t *testing.T) {
	s := &nodeStage{T: t, end: make(chan struct{})}
	s.upstream = live.StartProvider(t, s.serve)
	s.upstream.Config.SetKeepAlivesEnabled(false)
	c := nodeConfig{name: "a", keys: 5, state: "memory", upstream: s.upstream.URL, limits: f.limits, options: "replay {\nmemory 16B\n}"}
	c.level = "DEBUG" // where Caddy tells that it can accept no more
	if f.tmp != "" {
		c.env = []string{"TMPDIR=" + f.tmp}
	}
	s.node = startNode(t, c)
	askSmall(s) // so that what is made once is there
	before := s.take()
	if f.serves {
		s.upstream.LimitFirst(0)
	} else {
		s.upstream.LimitFirst(1)
	}
	if got := f.asks(s); got != f.Client {
		t.Errorf("the client got %s, want %s", got, f.Client)
	}
	f.checkCalls(s)
	if left := live.Entries(t, s.node.tmp()); left > 0 {
		t.Errorf("%d temporary files are left", left)
	}
	if s.node.ended {
		return
	}
	f.checkCooling(s)
	s.returned(before)
	if got := askSmall(s); got != live.Served {
		t.Errorf("afterwards a client got %s", got)
	}
}

const streamPath = "/stream"

// serve answers when the request's body has ended, or begins a stream.
func (s *nodeStage) serve(w http.ResponseWriter, r *http.Request) {
	s.begun.Add(1)
	_, err := io.Copy(io.Discard, r.Body)
	if r.URL.Path != streamPath {
		if err == nil {
			io.WriteString(w, live.TheAnswer)
		}
		return
	}
	io.WriteString(w, live.TheAnswer[:3])
	w.(http.Flusher).Flush()
	select {
	case <-s.end:
	case <-r.Context().Done():
		return
	}
	io.WriteString(w, live.TheAnswer[3:])
}

// largeBody outgrows what the disk of the cases has.
var largeBody = strings.Repeat("0123456789abcdef", 4<<20/16)

// askLarge sends it, of a length that is not stated.
func askLarge(s *nodeStage) live.Result { return s.ask(io.MultiReader(strings.NewReader(largeBody))) }

func askSmall(s *nodeStage) live.Result { return s.ask(strings.NewReader(live.Question)) }

// ask sends a request over a connection of its own.
func (s *nodeStage) ask(body io.Reader) live.Result {
	return s.post(s.node.url, body)
}

func (s *nodeStage) post(url string, body io.Reader) live.Result {
	return s.postOver(&http.Transport{DisableKeepAlives: true}, url, body)
}

func (s *nodeStage) postOver(transport *http.Transport, url string, body io.Reader) live.Result {
	client := live.Patient(transport)
	res, err := client.Post(url, "application/json", body)
	if err != nil {
		return live.Result(fmt.Sprintf("no answer: %v", err))
	}
	defer res.Body.Close()
	return live.ResultOf(res, live.TheAnswer)
}

// withDescriptorsLeft has idle clients take all of the node's descriptors but these.
func withDescriptorsLeft(left int, ask func(*nodeStage) live.Result) func(*nodeStage) live.Result {
	return func(s *nodeStage) live.Result {
		leave := s.idle(1000 - left)
		defer leave()
		return ask(s)
	}
}

// askWhenFull is connected when there are none, and asks when the others have left: a
// request that is read before may find none for the upstream. Ten of the others are
// not accepted yet: what the node closes meanwhile (a file that it had open for a
// moment) goes to them.
func askWhenFull(s *nodeStage) live.Result {
	leave := s.idle(1000)
	leaveTheLine := s.connect(10)
	live.Eventually(s, "the node has seen that it can accept no more", func() bool {
		return regexp.MustCompile(`Accept error: .*too many open files`).MatchString(s.node.log())
	})
	place, err := net.Dial("tcp", strings.TrimPrefix(s.node.url, "http://"))
	if err != nil {
		s.Fatal(err)
	}
	leave()
	leaveTheLine()
	live.Eventually(s, "the others have left", func() bool { return s.descriptors() < 500 })
	dial := func(context.Context, string, string) (net.Conn, error) { return place, nil }
	return s.postOver(&http.Transport{DisableKeepAlives: true, DialContext: dial}, s.node.url, strings.NewReader(live.Question))
}

// idle opens connections until the node has so many descriptors.
func (s *nodeStage) idle(descriptors int) (leave func()) {
	s.Helper()
	s.alone()
	var leaves []func()
	// One that was counted may have been there for a moment: after a while more are opened.
	again := time.NewTicker(live.Patience / 10)
	defer again.Stop()
	leaves = append(leaves, s.connect(descriptors-s.descriptors()))
	live.Eventually(s, "the node has accepted them", func() bool {
		n := s.descriptors()
		select {
		case <-again.C:
			leaves = append(leaves, s.connect(max(descriptors-n, 0)))
		default:
		}
		return n >= descriptors
	})
	return func() {
		for _, leave := range leaves {
			leave()
		}
	}
}

// connect opens idle connections.
func (s *nodeStage) connect(n int) (leave func()) {
	s.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		var err error
		if conns[i], err = net.Dial("tcp", strings.TrimPrefix(s.node.url, "http://")); err != nil {
			s.Fatal(err)
		}
	}
	return func() {
		for _, conn := range conns {
			conn.Close()
		}
	}
}

// alone waits until the node has seen that nobody is connected to it.
func (s *nodeStage) alone() {
	s.Helper()
	http.DefaultClient.CloseIdleConnections()
	const established, half, closing = "01", "05", "08"
	live.Eventually(s, "nobody is connected to the node", func() bool {
		return live.Sockets(s, s.node.url, established, half, closing)+live.Sockets(s, s.node.admin, established, half, closing) == 0
	})
}

func (s *nodeStage) descriptors() int {
	return live.Entries(s, fmt.Sprintf("/proc/%d/fd", s.node.cmd.Process.Pid))
}

// askUntilTheEnd has uploads and streams under way when the node is told to end.
func askUntilTheEnd(s *nodeStage) live.Result {
	const each = 20
	rest := make(chan struct{})
	results := make(chan live.Result, 2*each)
	before := s.begun.Load()
	for range each {
		go func() {
			begin, end := strings.NewReader(largeBody[:1<<20]), strings.NewReader(largeBody[1<<20:])
			results <- s.ask(io.MultiReader(begin, &live.Gate{Open: rest}, end))
		}()
		go func() { results <- s.post(s.node.url+streamPath, strings.NewReader(live.Question)) }()
	}
	live.Eventually(s, "all are under way", func() bool { return s.begun.Load()-before == 2*each })
	if err := s.node.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.Fatal(err)
	}
	live.Eventually(s, "the node accepts no more", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.node.url, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	close(rest)
	close(s.end)
	all := live.Served
	for range 2 * each {
		if got := live.Receive(s, "the clients get their answers", results); got != live.Served {
			all = got
		}
	}
	s.node.stop() // which wants a clean end
	return all
}

// checkCalls compares what the upstream saw.
func (f nodeFault) checkCalls(s *nodeStage) {
	s.Helper()
	calls := s.upstream.Seen()
	if len(calls) != f.Calls {
		s.Fatalf("the upstream saw %d calls, want %d", len(calls), f.Calls)
	}
	for i, c := range calls {
		if body := string(c.Body); body != live.Question && body != largeBody {
			s.Errorf("call %d had another body, of %d bytes", i+1, len(body))
		}
	}
}

// checkCooling compares which keys cool: those of the first calls.
func (f nodeFault) checkCooling(s *nodeStage) {
	s.Helper()
	_, body := live.Do(s, http.DefaultClient, live.Request(s, http.MethodGet, s.node.admin+"/keycycler/pools/main/keys?state=cooling", ""))
	var list struct{ Keys []struct{ ID string } }
	if err := json.Unmarshal(body, &list); err != nil {
		s.Fatalf("%v: %s", err, body)
	}
	got, want := []string{}, []string{}
	for _, k := range list.Keys {
		got = append(got, k.ID)
	}
	for _, c := range s.upstream.Seen()[:f.Cools] {
		want = append(want, rotator.IDOf(c.Key).String())
	}
	if !slices.Equal(got, want) {
		s.Errorf("keys that cool: %v, want %v", got, want)
	}
}

func (s *nodeStage) take() live.Taken {
	s.Helper()
	number := func(profile, pattern string) int {
		m := regexp.MustCompile(pattern).FindStringSubmatch(s.node.profile(profile))
		if m == nil {
			s.Fatalf("no %s in the profile", pattern)
		}
		n, _ := strconv.Atoi(m[1])
		return n
	}
	number("heap?gc=1&debug=1", `# HeapAlloc = (\d+)`) // what sync.Pool keeps goes with the second
	t := live.Taken{
		Heap:       uint64(number("heap?gc=1&debug=1", `# HeapAlloc = (\d+)`)),
		Goroutines: number("goroutine?debug=1", `goroutine profile: total (\d+)`),
	}
	s.alone()
	t.Descriptors = s.descriptors()
	return t
}

// returned waits until the node has given back what it took. Connections to the
// upstream that are kept for a second are among it.
func (s *nodeStage) returned(before live.Taken) {
	s.Helper()
	var now live.Taken
	live.Eventually(s, "the node has given everything back", func() bool {
		now = s.take()
		return now.Back(before)
	})
}
