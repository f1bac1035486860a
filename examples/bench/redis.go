package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// errNoRedis skips the scenarios with Redis.
var errNoRedis = errors.New("redis-server is not installed")

// redisServer is a Redis that keeps nothing on disk.
type redisServer struct {
	*process
	address string
}

// withRedis returns the lab's Redis, empty.
func (l *lab) withRedis() (*redisServer, error) {
	if l.redis == nil {
		server, err := l.startRedis()
		if err != nil {
			return nil, err
		}
		l.redis = server
	}
	return l.redis, l.redis.command(l, "FLUSHALL", "+OK")
}

func (l *lab) startRedis() (*redisServer, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errNoRedis
	}
	ports, err := freePorts(l.ctx, 1)
	if err != nil {
		return nil, err
	}
	process, _, err := start(l.ctx, l.loadCores, filepath.Join(l.dir, "redis.log"), nil, program,
		"--port", ports[0], "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", l.dir, "--logfile", filepath.Join(l.dir, "redis.out"))
	if err != nil {
		return nil, err
	}
	server := &redisServer{process: process, address: "127.0.0.1:" + ports[0]}
	for deadline := time.Now().Add(startup); ; {
		if err = server.command(l, "PING", "+PONG"); err == nil || time.Now().After(deadline) || l.ctx.Err() != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		server.stop()
		return nil, fmt.Errorf("redis-server does not answer: %w: %s", err, process.said())
	}
	return server, nil
}

// command sends a command without arguments, and expects that answer.
func (s *redisServer) command(l *lab, command, want string) error {
	conn, err := new(net.Dialer).DialContext(l.ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the answer was read
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if line = strings.TrimSpace(line); line != want {
		return fmt.Errorf("redis answers %s with %q", command, line)
	}
	return nil
}
