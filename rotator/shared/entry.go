package shared

import (
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// entryField names what an entry of the stream holds, by the version of its format.
const entryField = "2"

// entry is one of the stream. Its text is the data's epoch, the writer's name and the
// journal's time, the entry's own name and that of the one before it; then fields and
// their values as in the hash, or resources and their owners. Each is on a line.
type entry struct {
	end   int64 // where in the stream, in bytes
	epoch string
	node  string
	time  int64  // when it was written, in ms
	mark  string // its name
	after string // the one before it; "": there is none
	lines []string
}

// parseEntry reports false for what no process of this version has written.
func parseEntry(m redis.XMessage) (entry, bool) {
	text, _ := m.Values[entryField].(string)
	lines := strings.Split(text, "\n")
	id, ok := strings.CutSuffix(m.ID, "-0")
	if !ok || len(lines) < 5 || len(lines)%2 == 0 {
		return entry{}, false
	}
	end, err1 := strconv.ParseInt(id, 10, 64)
	at, err2 := strconv.ParseInt(lines[2], 10, 64)
	if err1 != nil || err2 != nil {
		return entry{}, false
	}
	return entry{
		end: end, epoch: strings.Clone(lines[0]), node: lines[1], time: max(min(at, maxMillis), 0),
		mark: strings.Clone(lines[3]), after: lines[4], lines: lines[5:],
	}, true
}
