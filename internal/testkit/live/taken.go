package live

import (
	"bufio"
	"fmt"
	"iter"
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

// Sockets counts those at this URL's port in one of these states (the kernel's
// include/net/tcp_states.h). Where the system does not tell, there are none.
func Sockets(t testing.TB, url string, states ...string) (n int) {
	t.Helper()
	end := portOf(t, url)
	for address, state := range sockets(t) {
		if strings.HasSuffix(address, end) && slices.Contains(states, state) {
			n++
		}
	}
	return n
}

// Listeners counts those that listen. The system names them first: the many others, of
// all processes, are not read.
func Listeners(t testing.TB, url string) (n int) {
	t.Helper()
	const listening = "0A"
	end := portOf(t, url)
	for address, state := range sockets(t) {
		if state != listening {
			break
		}
		if strings.HasSuffix(address, end) {
			n++
		}
	}
	return n
}

// portOf writes the URL's port as the system does.
func portOf(t testing.TB, url string) string {
	t.Helper()
	port, err := strconv.Atoi(url[strings.LastIndex(url, ":")+1:])
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(":%04X", port)
}

// sockets are the system's: address and state.
func sockets(t testing.TB) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		t.Helper()
		list, err := os.Open("/proc/net/tcp")
		if os.IsNotExist(err) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		defer list.Close()
		lines := bufio.NewScanner(list)
		lines.Scan() // what the columns are
		for lines.Scan() {
			if fields := strings.Fields(lines.Text()); !yield(fields[1], fields[3]) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
}
