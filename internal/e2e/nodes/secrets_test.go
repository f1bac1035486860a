//go:build unix

package nodes

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keycycler/keycycler/internal/testkit/live"
)

// recorder collects what a connection brings.
type recorder struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// monitor records every command that Redis gets, until the test ends.
func (s *redisServer) monitor() *recorder {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "MONITOR\r\n"); err != nil {
		s.t.Fatal(err)
	}
	r := new(recorder)
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(r, conn) })
	s.t.Cleanup(func() {
		conn.Close()
		reading.Wait()
	})
	live.Eventually(s.t, "Redis reports its commands", func() bool { return strings.HasPrefix(r.String(), "+OK") })
	return r
}

// dump returns everything that Redis holds, names and serialised values.
func (s *redisServer) dump() string {
	s.t.Helper()
	s.Do("CONFIG", "SET", "rdbcompression", "no")
	var all strings.Builder
	keys := s.Client().Scan(s.t.Context(), 0, "*", 1000).Iterator()
	for keys.Next(s.t.Context()) {
		value, err := s.Client().Dump(s.t.Context(), keys.Val()).Result()
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s %s\n", keys.Val(), value)
	}
	if err := keys.Err(); err != nil {
		s.t.Fatal(err)
	}
	return all.String()
}

// keyPart returns six bytes of one of the first n keys that text shows.
func keyPart(text string, n int) string {
	for i := range n {
		secret := strings.TrimPrefix(key(i), "sk-")
		for at := 0; at+6 <= len(secret); at++ {
			if strings.Contains(text, secret[at:at+6]) {
				return secret[at : at+6]
			}
		}
	}
	return ""
}

// Ids travel, keys do not: neither to Redis nor into any log.
func TestNodesTellNoKeys(t *testing.T) {
	t.Parallel()
	const keys, limited = 10, 5
	server, upstream := startRedis(t), startLimiter(t)
	commands := server.monitor()
	const password = "Bn4Gk8Xs-not-for-logs"
	server.Do("ACL", "SETUSER", "gateway", "on", ">"+password, "~{demo}:*", "+@all")
	nodes := startNodes(t, 2, nodeConfig{
		keys: keys, only: upTo(keys), upstream: upstream.URL, level: "DEBUG", env: []string{"REDIS_PASSWORD=" + password},
		state: fmt.Sprintf("redis %s {\nusername gateway\npassword {env.REDIS_PASSWORD}\nprefix demo\n}", server.Addr()),
	})
	upstream.limit(upTo(limited)...)
	for i := range limited {
		nodes[i%2].get(onlyPath(i))
	}
	for _, n := range nodes {
		for i := range limited {
			live.Eventually(t, "the node knows", func() bool { return n.knows(i) })
		}
	}
	// A reload, and an outage with what is learned meanwhile.
	nodes[0].reload(nodes[0].config)
	server.Do("ACL", "SETUSER", "gateway", "resetpass", ">another")
	server.Do("CLIENT", "KILL", "USER", "gateway")
	live.Eventually(t, "the node says that Redis is away", func() bool { return nodes[0].logged(awayLine) > 0 })
	upstream.limit(limited)
	nodes[0].get(onlyPath(limited))
	server.Do("ACL", "SETUSER", "gateway", "resetpass", ">"+password)
	live.Eventually(t, "the other node knows", func() bool { return nodes[1].knows(limited) })

	dump := server.dump()
	if !strings.Contains(dump, "{demo}:state") || strings.Count(commands.String(), "evalsha") < limited {
		t.Fatal("Redis holds nothing, or was told nothing: this test looks at nothing")
	}
	texts := map[string]string{"what Redis holds": dump, "what Redis was told": commands.String()}
	for _, n := range nodes {
		log := n.log()
		if !strings.Contains(log, "upstream roundtrip") || !strings.Contains(log, "key is cooling") {
			t.Fatal("the log lacks what it should have: this test looks at nothing")
		}
		texts["the log of node "+n.config.name] = log
	}
	for what, text := range texts {
		if part := keyPart(text, keys); part != "" {
			at := strings.Index(text, part)
			t.Errorf("%s shows %q: …%s…", what, part, text[max(at-300, 0):min(at+100, len(text))])
		}
		if strings.HasPrefix(what, "the log") && strings.Contains(text, password) {
			t.Errorf("%s shows the password of Redis", what)
		}
	}

	// Would it be found?
	server.Do("HSET", "{demo}:decoy", "field", key(7))
	if keyPart(server.dump(), keys) == "" {
		t.Error("a key in Redis is not found")
	}
	live.Eventually(t, "a key in a command is found", func() bool { return keyPart(commands.String(), keys) != "" })
}

// ways are all ways in which a key travels: an option, and how the upstream finds
// the key.
var ways = map[string]struct {
	auth string
	key  func(*http.Request) string
}{
	"bearer":         {"bearer", func(r *http.Request) string { return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") }},
	"x-api-key":      {"header X-Api-Key", func(r *http.Request) string { return r.Header.Get("X-Api-Key") }},
	"api-key":        {"header Api-Key", func(r *http.Request) string { return r.Header.Get("Api-Key") }},
	"x-goog-api-key": {"header X-Goog-Api-Key", func(r *http.Request) string { return r.Header.Get("X-Goog-Api-Key") }},
	"query":          {"query key", func(r *http.Request) string { return r.URL.Query().Get("key") }},
}

// misbehaving is an upstream that does what tends to get into logs.
func misbehaving(t *testing.T) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, way, _ := strings.Cut(r.URL.Path, "/")
		way, what, _ := strings.Cut(way, "/")
		secret := ways[way].key(r)
		if secret == "" {
			t.Errorf("%s: the upstream got no key", r.URL.Path)
		}
		switch what {
		case "limited":
			w.Header().Set("Retry-After", "40")
			w.Header().Set("X-Ratelimit-Remaining-Requests", "0") // it is proven, and so told to other nodes
			w.Header().Set("X-Ratelimit-Reset-Requests", "40s")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, live.RateLimitBody+secret)
		case "invalid":
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":{"message":"Incorrect API key provided: %s","code":"invalid_api_key"}}`, secret)
		case "forbidden":
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"error":{"message":"%s may not do this"}}`, secret)
		case "broken":
			panic(http.ErrAbortHandler)
		case "aborted":
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "begin")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		default:
			_, _ = io.WriteString(w, "fine")
		}
	}))
	t.Cleanup(func() { live.CloseServer(t, server) })
	return server
}

// A full run at DEBUG, with every way in which a key travels, everything that goes
// wrong, an operator who looks at and changes everything, and the example's log
// filter: no six bytes of a key show anywhere.
func TestNodeShowsNoKeyAnywhere(t *testing.T) {
	t.Parallel()
	const keys = 10 // two for each way
	server, upstream := startRedis(t), misbehaving(t)
	commands := server.monitor()
	n := startNode(t, nodeConfig{name: "a", keys: keys, state: "memory", level: "DEBUG", upstream: upstream.URL})
	names := slices.Sorted(maps.Keys(ways))
	var sites strings.Builder
	for i, way := range names {
		fmt.Fprintf(&sites, "handle /%s/* {\nkeycycler %s {\nkeys {env.KEY_%d} {env.KEY_%d}\nauth %s\nstate redis %s\n}\nreverse_proxy %s\n}\n",
			way, way, 2*i, 2*i+1, ways[way].auth, server.Addr(), upstream.URL)
	}
	config := n.caddyfile(nodeConfig{level: "DEBUG", state: "memory", upstream: upstream.URL})
	config = strings.Replace(config, "level DEBUG\n", "level DEBUG\n"+live.LogFilter(t)+"\n", 1)
	config = strings.Replace(config, "handle /ready", "log\n"+sites.String()+"handle /ready", 1)
	n.post(config)

	var answers strings.Builder
	for i, way := range names {
		for _, what := range []string{"fine", "forbidden", "broken", "aborted", "limited", "fine", "invalid", "exhausted"} {
			answers.WriteString(n.raw(http.MethodPost, n.url+"/"+way+"/"+what+"?key=sk-client-9&x=1"))
			if what == "limited" { // both cool: free one for the next answer
				n.raw(http.MethodPost, fmt.Sprintf("%s/keycycler/pools/%s/keys/%s/clear", n.admin, way, idOf(2*i)))
			}
		}
	}
	for _, path := range []string{"keycycler/", "keycycler/pools", "metrics", "config/", "debug/vars"} {
		answers.WriteString(n.raw(http.MethodGet, n.admin+"/"+path))
	}
	for i, way := range names {
		pool := n.admin + "/keycycler/pools/" + way
		for _, path := range []string{"", "/keys", "/rejections", "/keys/" + idOf(2*i)} {
			answers.WriteString(n.raw(http.MethodGet, pool+path))
		}
		for _, path := range []string{"/keys/disable", "/keys/enable", "/keys/clear", "/keys/" + idOf(2*i) + "/cool", "/keys/" + idOf(2*i) + "/disable"} {
			answers.WriteString(n.raw(http.MethodPost, pool+path))
		}
		answers.WriteString(n.raw(http.MethodGet, n.admin+"/keycycler/?pool="+way))
	}
	live.Eventually(t, "Redis has heard of it", func() bool { return server.cooling() > 0 })

	log := n.log()
	for _, wanted := range []string{
		"key is cooling", "no key is ready", "aborting with incomplete response", "upstream roundtrip", "handled request",
		"was disabled by an operator", "EOF",
	} {
		if !strings.Contains(log, wanted) {
			t.Errorf("the log has no %q: this test looks at nothing", wanted)
		}
	}
	files, err := os.ReadDir(n.tmp())
	if err != nil || len(files) > 0 {
		t.Errorf("temporary files: %v, %v", files, err)
	}
	for what, text := range map[string]string{
		"the log": log, "an answer": answers.String(), "what Redis holds": server.dump(), "what Redis was told": commands.String(),
	} {
		if part := keyPart(text, keys); part != "" {
			at := strings.Index(text, part)
			t.Errorf("%s shows %q: …%s…", what, part, text[max(at-300, 0):min(at+100, len(text))])
		}
		if what == "the log" && strings.Contains(text, "sk-client-9") {
			at := strings.Index(text, "sk-client-9")
			t.Errorf("the log shows the client's key: …%s…", text[max(at-300, 0):min(at+100, len(text))])
		}
	}
}

// raw sends a request that may fail and returns header and body of the answer.
func (n *node) raw(method, url string) string {
	n.t.Helper()
	r := live.Request(n.t, method, url, `{"seconds":60}`)
	if strings.HasPrefix(url, n.url) { // the clients' own
		r.Header.Set("X-Api-Key", "sk-client-9")
		r.Header.Set("Api-Key", "sk-client-9")
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return fmt.Sprint(res.Header) + string(body)
}
