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
	news  string // the rest
}

// parseEntry reports false for what no process of this version has written.
func parseEntry(m redis.XMessage) (entry, bool) {
	text, _ := m.Values[entryField].(string)
	head, news, rest := [5]string{}, text, true
	for i := range head {
		if !rest {
			return entry{}, false
		}
		head[i], news, rest = strings.Cut(news, "\n")
	}
	id, ok := strings.CutSuffix(m.ID, "-0")
	if !ok || rest && strings.Count(news, "\n")%2 == 0 {
		return entry{}, false
	}
	end, err1 := strconv.ParseInt(id, 10, 64)
	at, err2 := strconv.ParseInt(head[2], 10, 64)
	if err1 != nil || err2 != nil {
		return entry{}, false
	}
	return entry{
		end: end, epoch: strings.Clone(head[0]), node: head[1], time: max(min(at, maxMillis), 0),
		mark: strings.Clone(head[3]), after: head[4], news: news,
	}, true
}

// each yields the fields and their values.
func (e entry) each(yield func(field, value string) bool) {
	for news := e.news; news != ""; {
		field, rest, _ := strings.Cut(news, "\n")
		value, rest, _ := strings.Cut(rest, "\n")
		if !yield(field, value) {
			return
		}
		news = rest
	}
}
