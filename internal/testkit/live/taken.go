package live

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Taken is what a process takes, and the temporary files that it has left.
type Taken struct {
	Goroutines, Descriptors, Files int
	Heap                           uint64
}

// slack is how much the heap may grow from case to case, in bytes: what Caddy and Go
// keep for a while of a config that is gone, a megabyte each, where HTTP/2 was spoken.
// The bodies of the cases that are about bodies are larger.
const slack = 4 << 20

// Back tells whether everything is back that was taken since.
func (now Taken) Back(before Taken) bool {
	return now.Goroutines <= before.Goroutines && now.Descriptors <= before.Descriptors && now.Files <= before.Files && now.Heap <= before.Heap+slack
}

// Entries counts them in a directory. A system without it has none.
func Entries(t testing.TB, dir string) int {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(list)
}

// Sockets counts those at this URL's port in one of these states.
func Sockets(t testing.TB, url string, states ...string) (n int) {
	t.Helper()
	list, err := os.ReadFile("/proc/net/tcp")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(url[strings.LastIndex(url, ":")+1:])
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		fields := strings.Fields(line)
		if strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) && slices.Contains(states, fields[3]) {
			n++
		}
	}
	return n
}
