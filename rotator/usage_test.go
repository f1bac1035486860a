package rotator

import (
	"reflect"
	"testing"
	"time"
)

func TestUsage(t *testing.T) {
	keys := makeKeys(t, 2)
	p := makePool(t, keys, nil, start)
	if st := p.Status(start, 0); !reflect.DeepEqual(st, Status{}) {
		t.Errorf("a key that was never used has %+v", st)
	}
	p.Take(start, Want{Among: span(0, 1)})
	p.Take(start.Add(time.Second), Want{Among: span(0, 1)})
	p.End(0)
	p.Reject(0, limited)
	p.Cool(start, 0, Cooldown{For: time.Minute, Reason: limited, Source: "retry-after"})
	want := Status{
		Condition: Cooling, Left: time.Minute, Reason: limited, Source: "retry-after",
		Attempts: 2, InFlight: 1, LastUsed: start.Add(time.Second),
	}
	want.Rejections[limited] = 1
	if got := p.Status(start, 0); !reflect.DeepEqual(got, want) {
		t.Errorf("status %+v, want %+v", got, want)
	}

	// What a request does that began before a reload counts for the key, too.
	again := makePool(t, keys, p.state, start)
	p.Close(start)
	p.End(0)
	want.InFlight = 0
	if got := again.Status(start, 0); !reflect.DeepEqual(got, want) {
		t.Errorf("after a reload, status %+v, want %+v", got, want)
	}
	want.Condition, want.Left, want.Reason, want.Source = Ready, 0, 0, ""
	if got := again.Status(start.Add(time.Minute), 0); !reflect.DeepEqual(got, want) {
		t.Errorf("when it is over, status %+v, want %+v", got, want)
	}
}

func TestParseCondition(t *testing.T) {
	for _, want := range []Condition{Ready, Cooling, Disabled} {
		if got, ok := ParseCondition(want.String()); !ok || got != want {
			t.Errorf("%s was read as %s, %t", want, got, ok)
		}
	}
	if _, ok := ParseCondition("tired"); ok {
		t.Error("tired is no condition")
	}
}
