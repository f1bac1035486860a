package status

import (
	"math"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0 s"},
		{time.Nanosecond, "1 s"},
		{42 * time.Second, "42 s"},
		{59*time.Second + time.Millisecond, "1 min"},
		{200 * time.Second, "3 min 20 s"},
		{time.Hour, "1 h"},
		{2*time.Hour + 5*time.Minute + 9*time.Second, "2 h 5 min"},
		{26 * time.Hour, "26 h"},
		{72 * time.Hour, "3 d"},
		{5000 * 24 * time.Hour, "5,000 d"},
	} {
		if got := duration(test.d); got != test.want {
			t.Errorf("%v is %q, want %q", test.d, got, test.want)
		}
	}
}

func TestAgo(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, test := range []struct {
		then time.Time
		want string
	}{
		{time.Time{}, "never"},
		{now, "just now"},
		{now.Add(time.Second), "just now"}, // clocks differ
		{now.Add(-12*time.Second - 900*time.Millisecond), "12 s ago"},
		{now.Add(-45*time.Minute - 21*time.Second), "45 min ago"},
		{now.Add(-26 * time.Hour), "26 h ago"},
	} {
		if got := ago(now, test.then); got != test.want {
			t.Errorf("%v is %q, want %q", test.then, got, test.want)
		}
	}
}

func TestCount(t *testing.T) {
	for _, test := range []struct {
		n    uint64
		want string
	}{
		{0, "0"},
		{999, "999"},
		{1000, "1,000"},
		{10_000, "10,000"},
		{math.MaxUint64, "18,446,744,073,709,551,615"},
	} {
		if got := count(test.n); got != test.want {
			t.Errorf("%d is %q, want %q", test.n, got, test.want)
		}
	}
	if got := count(-3); got != "0" {
		t.Errorf("-3 is %q", got)
	}
}

func TestShare(t *testing.T) {
	for _, test := range []struct {
		part, whole int
		want        string
	}{
		{0, 0, "0 %"},
		{0, 8, "0 %"},
		{8, 8, "100 %"},
		{7, 8, "87.5 %"},
		{1, 3, "33.3 %"},
		{1, 10_000, "<0.1 %"},
		{9_999, 10_000, ">99.9 %"},
	} {
		if got := share(test.part, test.whole); got != test.want {
			t.Errorf("%d of %d is %q, want %q", test.part, test.whole, got, test.want)
		}
	}
}

func TestBackend(t *testing.T) {
	for _, test := range []struct {
		name string
		pool Pool
		want string
	}{
		{"a file", Pool{Backend: "file", Healthy: true, Queue: 2}, "The state file is healthy, 2 changes to be written"},
		{"a full disk", Pool{Backend: "file", Err: "no space left on device"}, "The state file cannot be written: no space left on device. This node goes on with what it knows."},
		{"memory", Pool{Backend: "memory", Healthy: true}, "State in memory, of this node alone"},
		{"a Redis that nobody else has written to", Pool{Backend: "redis", Healthy: true}, "Redis is healthy"},
		{"a Redis with other nodes", Pool{Backend: "redis", Healthy: true, Lag: 3 * time.Millisecond}, "Redis is healthy, 3 ms behind other nodes"},
		{"a lag of nearly nothing", Pool{Backend: "redis", Healthy: true, Lag: time.Microsecond}, "Redis is healthy, 1 ms behind other nodes"},
		{"a Redis that is slow", Pool{Backend: "redis", Healthy: true, Lag: 61 * time.Second, Queue: 1}, "Redis is healthy, 1 min 1 s behind other nodes, 1 change to be written"},
		{"a Redis that is away", Pool{Backend: "redis", Err: "i/o timeout.", Queue: 1200}, "Redis is away: i/o timeout. This node goes on with what it knows; 1,200 changes to be written."},
		{"away without an error", Pool{Backend: "redis"}, "Redis is away. This node goes on with what it knows."},
		{"another backend", Pool{Backend: "etcd", Healthy: true}, "etcd is healthy"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := backend(&test.pool); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestNoneReady(t *testing.T) {
	for _, test := range []struct {
		name string
		pool Pool
		want string
	}{
		{"no keys", Pool{}, "has no keys."},
		{"all cooling", Pool{Keys: 2, Cooling: 2, Soonest: 42 * time.Second}, "has no ready key. The first is back in 42 s."},
		{"all disabled", Pool{Keys: 2, Disabled: 2}, "has no ready key: all are disabled."},
		{"nobody knows until when", Pool{Keys: 2, Cooling: 2}, "has no ready key."},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := noneReady(&test.pool); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
