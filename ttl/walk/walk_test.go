package walk

import (
	"fmt"
	"testing"
)

// What comes before the fault is handed over, and it is told whether there was one.
func TestWalker(t *testing.T) {
	for _, row := range []struct {
		text, want string
		whole      bool
	}{
		{`{"a":"x","b":{"c":1},"d":[true,"y"]}`, `.a="x" .b.c=1 .d=true .d="y" `, true},
		{`[{"a":"x"}]`, `.a="x" `, true},
		{`"bare"`, `="bare" `, true},
		{`{"a":"x",}`, `.a="x" `, true},
		{`{" a":"x\"y"}`, `.a="x\"y" `, true},
		{`{"a":"x","b":"cut`, `.a="x" `, false},
		{`{"a":12`, ``, false},
		{`{"a":nope}`, ``, false},
		{``, ``, false},
	} {
		got := ""
		w := Walker{Rest: []byte(row.text), Leaf: func(path, value []byte, quoted bool) {
			if quoted {
				value = fmt.Appendf(nil, `"%s"`, value)
			}
			got += fmt.Sprintf("%s=%s ", path, value)
		}}
		if whole := w.Value(0); got != row.want || whole != row.whole {
			t.Errorf("%s: %s, %t, want %s, %t", row.text, got, whole, row.want, row.whole)
		}
	}
}
