package main

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// fakeClient answers after so long.
type fakeClient struct {
	takes  time.Duration
	err    error
	closed bool
}

func (c *fakeClient) do() (int, error) {
	time.Sleep(c.takes)
	return 3, c.err
}

func (c *fakeClient) close() { c.closed = true }

func loadOf(workers int, takes time.Duration, err error) *load {
	l := new(load)
	for range workers {
		l.workers = append(l.workers, &worker{client: &fakeClient{takes: takes, err: err}})
	}
	return l
}

func TestDrive(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		what    string
		workers int
		takes   time.Duration
		rate    float64
		want    int
		p50     time.Duration
		p100    time.Duration
	}{
		{what: "a closed load sends when it has its answer", workers: 2, takes: 10 * ms, want: 200, p50: 10 * ms, p100: 10 * ms},
		{what: "an open one sends as many as it shall", workers: 8, takes: 10 * ms, rate: 100, want: 100, p50: 10 * ms, p100: 10 * ms},
		{what: "what an open one cannot send in time has waited since it was due", workers: 1, takes: 20 * ms, rate: 100, want: 100, p50: 510 * ms, p100: 1010 * ms},
	} {
		synctest.Test(t, func(t *testing.T) {
			b, err := loadOf(test.workers, test.takes, nil).drive(time.Second, test.rate)
			if err != nil {
				t.Fatalf("%s: %v", test.what, err)
			}
			if len(b.latencies) != test.want || b.chunks != 3*test.want {
				t.Errorf("%s: %d requests, %d chunks, want %d requests", test.what, len(b.latencies), b.chunks, test.want)
			}
			if p50, p100 := percentile(b.latencies, 50), percentile(b.latencies, 100); p50 != test.p50 || p100 != test.p100 {
				t.Errorf("%s: p50 %s, all within %s, want %s and %s", test.what, p50, p100, test.p50, test.p100)
			}
		})
	}
}

func TestDriveCountsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := loadOf(1, 10*time.Millisecond, nil)
		for range 2 {
			b, err := l.drive(100*time.Millisecond, 0)
			if err != nil || len(b.latencies) != 10 || b.chunks != 30 {
				t.Fatalf("%d requests, %d chunks, %v", len(b.latencies), b.chunks, err)
			}
		}
	})
}

func TestDriveWaitsForWhatHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := loadOf(1, 70*time.Millisecond, nil).drive(100*time.Millisecond, 0)
		if err != nil || len(b.latencies) != 2 || b.took != 140*time.Millisecond {
			t.Errorf("%d requests in %s, %v", len(b.latencies), b.took, err)
		}
	})
}

func TestDriveFailsWithAnyWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		l := loadOf(3, time.Millisecond, nil)
		l.workers[1].client = &fakeClient{takes: time.Millisecond, err: broken}
		if _, err := l.drive(10*time.Millisecond, 0); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
}

func TestShareRoundsUp(t *testing.T) {
	for _, test := range []struct{ workers, n, want int }{{64, 3, 22}, {4, 3, 2}, {1, 3, 1}, {6, 3, 2}} {
		if got := len(loadOf(test.workers, 0, nil).share(test.n).workers); got != test.want {
			t.Errorf("one %dth of %d workers are %d, want %d", test.n, test.workers, got, test.want)
		}
	}
}

func TestCloseClosesEveryClient(t *testing.T) {
	l := loadOf(2, 0, nil)
	l.close()
	for i, w := range l.workers {
		if !w.client.(*fakeClient).closed {
			t.Errorf("client %d is open", i)
		}
	}
}
