// Package redistest runs real Redis servers for tests: alone, behind sentinels and
// as a cluster, each on free loopback ports, with its data in a temporary
// directory, and ended by its process id. It touches no server that it has not
// started.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Require is the environment variable that, set to 1, makes tests fail that would
// be skipped because this machine has no redis-server.
const Require = "KEYCYCLER_REQUIRE_REDIS"

// startTime bounds how long a server may take to answer.
const startTime = time.Minute

// Server is a redis-server of a test's own. Its methods end the test where they
// fail; they are not safe for concurrent use.
type Server struct {
	t      testing.TB
	dir    string
	port   int
	config []string // lines
	args   []string
	env    []string // besides this process's
	secure *TLS     // nil: plain TCP
	cmd    *exec.Cmd
	ended  chan struct{}
	output *bytes.Buffer
	client *redis.Client
}

// Start runs a server with further lines of config until the test ends. Without
// any it keeps its data in memory alone, but for what Save writes.
func Start(t testing.TB, config ...string) *Server {
	t.Helper()
	s := &Server{t: t, dir: tempDir(t), port: freePort(t), config: config}
	s.Restart()
	return s
}

// tempDir is t.TempDir with a short name: a server's sockets and files stand there.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Binary returns redis-server's path. Where there is none the test is skipped, or
// fails if Require says so.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	switch {
	case err == nil:
		return path
	case os.Getenv(Require) == "1":
		t.Fatalf("%s=1, and there is no redis-server: %v", Require, err)
	default:
		t.Skip("there is no redis-server on this machine")
	}
	return ""
}

// Addr is the server's address, host:port. It stays the same across restarts.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Port is the server's port.
func (s *Server) Port() int { return s.port }

// Dir is where the server keeps its data.
func (s *Server) Dir() string { return s.dir }

// Output is what the server has printed. The server must have ended.
func (s *Server) Output() string { return s.output.String() }

// Restart runs the server again, with the data that it has on disk, and waits
// until it answers. It must not run.
func (s *Server) Restart() {
	s.t.Helper()
	binary := Binary(s.t)
	lines := []string{"bind 127.0.0.1", "protected-mode no", "save \"\"", "dir " + s.dir, "repl-diskless-sync-delay 0"}
	if s.secure == nil {
		lines = append(lines, fmt.Sprint("port ", s.port))
	} else {
		lines = append(lines, s.secure.lines(s.port)...)
	}
	file := filepath.Join(s.dir, "redis.conf")
	if _, err := os.Stat(file); err != nil { // a sentinel rewrites its own
		var text bytes.Buffer
		for _, line := range append(lines, s.config...) {
			fmt.Fprintln(&text, line)
		}
		if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	s.run(exec.CommandContext(context.Background(), binary, append([]string{file}, s.args...)...))
	s.wait()
}

func (s *Server) run(cmd *exec.Cmd) {
	s.t.Helper()
	s.output = new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = s.output, s.output
	cmd.WaitDelay = time.Second // a child that saves may have the output, too
	cmd.Env = append(os.Environ(), s.env...)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	s.cmd, s.ended = cmd, ended
	s.t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
}

// wait returns when the server answers.
func (s *Server) wait() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !s.listens(ctx) || s.Client().Ping(ctx).Err() != nil {
		select {
		case <-s.ended:
			s.t.Fatalf("redis-server has ended:\n%s", s.output)
		case <-ctx.Done():
			s.t.Fatal("redis-server does not answer")
		case <-tick.C:
		}
	}
}

// listens tells whether the server accepts connections. A client that was refused one
// would rest for a tenth of a second.
func (s *Server) listens(ctx context.Context) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Addr())
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// Client returns a connection for the test's own commands, as the user default.
func (s *Server) Client() *redis.Client {
	if s.client == nil {
		o := &redis.Options{Addr: s.Addr(), ContextTimeoutEnabled: true, MaxRetries: 3, DisableIdentity: true, ReadTimeout: 10 * time.Second}
		if s.secure != nil {
			o.TLSConfig = s.secure.Config(s.t)
		}
		s.client = redis.NewClient(o)
		s.t.Cleanup(func() { s.client.Close() })
	}
	return s.client
}

// Do runs a command, as redis-cli would, and returns its reply.
func (s *Server) Do(args ...any) any {
	s.t.Helper()
	reply, err := s.Client().Do(context.Background(), args...).Result()
	if err != nil && err != redis.Nil {
		s.t.Fatalf("redis %v: %v", args, err)
	}
	return reply
}

// DoAtOnce runs commands with nobody else's between them.
func (s *Server) DoAtOnce(commands ...[]any) {
	s.t.Helper()
	_, err := s.Client().TxPipelined(context.Background(), func(p redis.Pipeliner) error {
		for _, c := range commands {
			p.Do(context.Background(), c...)
		}
		return nil
	})
	if err != nil {
		s.t.Fatalf("redis %v: %v", commands, err)
	}
}

// Info returns the section of INFO.
func (s *Server) Info(section string) string {
	s.t.Helper()
	text, err := s.Client().Info(context.Background(), section).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

// Save writes the data to disk, from where Restart takes it.
func (s *Server) Save() {
	s.t.Helper()
	s.Do("SAVE")
}

// Kill ends the server at once (SIGKILL).
func (s *Server) Kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	<-s.ended
}

// RestartEmpty ends the server at once and runs it again without data.
func (s *Server) RestartEmpty() {
	s.t.Helper()
	s.Kill()
	s.Wipe()
	s.Restart()
}

// Wipe deletes what the server has saved.
func (s *Server) Wipe() {
	s.t.Helper()
	for _, name := range []string{"dump.rdb", "appendonlydir"} {
		if err := os.RemoveAll(filepath.Join(s.dir, name)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// Stall stops the server in its tracks (SIGSTOP) until Resume. Connections stay,
// and the kernel goes on accepting new ones.
func (s *Server) Stall() {
	s.t.Helper()
	s.signal(stop)
}

// Resume lets a stalled server go on (SIGCONT).
func (s *Server) Resume() {
	s.t.Helper()
	s.signal(goOn)
}

func (s *Server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}
