//go:build unix

package keycycler_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
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
	eventually(s.t, "Redis reports its commands", func() bool { return strings.HasPrefix(r.String(), "+OK") })
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
			eventually(t, "the node knows", func() bool { return n.knows(i) })
		}
	}
	// A reload, and an outage with what is learned meanwhile.
	nodes[0].reload(nodes[0].config)
	server.Do("ACL", "SETUSER", "gateway", "resetpass", ">another")
	server.Do("CLIENT", "KILL", "USER", "gateway")
	eventually(t, "the node says that Redis is away", func() bool { return nodes[0].logged(awayLine) > 0 })
	upstream.limit(limited)
	nodes[0].get(onlyPath(limited))
	server.Do("ACL", "SETUSER", "gateway", "resetpass", ">"+password)
	eventually(t, "the other node knows", func() bool { return nodes[1].knows(limited) })

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
	eventually(t, "a key in a command is found", func() bool { return keyPart(commands.String(), keys) != "" })
}
