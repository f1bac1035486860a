package gateway

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keycycler/keycycler/internal/testkit"
)

// telling is an upstream with a token bucket a key that says with every answer what
// is left in it, as OpenAI does.
type telling struct {
	mu             sync.Mutex
	buckets        map[string]*bucket
	calls, refused int
}

func (u *telling) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	time.Sleep(20 * time.Millisecond)
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	b := u.buckets[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	wait, ok := b.take(now)
	u.calls++
	h := w.Header()
	h.Set("X-Ratelimit-Limit-Requests", fmt.Sprint(b.size))
	h.Set("X-Ratelimit-Remaining-Requests", fmt.Sprint(int(b.tokens)))
	h.Set("X-Ratelimit-Reset-Requests", time.Duration((b.size-b.tokens)*float64(b.every)).Round(time.Millisecond).String())
	if ok {
		_, err := io.WriteString(w, "fine")
		return err
	}
	u.refused++
	h.Set("Retry-After", fmt.Sprint(int(wait.Seconds())+1))
	w.WriteHeader(http.StatusTooManyRequests)
	_, _ = io.WriteString(w, rateLimited)
	return nil
}

const rateLimited = `{"error":{"message":"Rate limit reached","code":"rate_limit_exceeded"}}`

// Looking ahead, fewer requests meet a limit.
func TestLookingAheadSavesRejections(t *testing.T) {
	var share [2]float64
	var failed [2]int
	for i, ahead := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const keys = 20
			u := &telling{buckets: make(map[string]*bucket)}
			h := provision(t, keys, func(c *Config) {
				c.Ahead, c.Random = ahead, true // whoever takes turns meets none in this world
				c.Policy.Min = 0
			})
			for _, k := range testkit.DemoKeys(keys) {
				u.buckets[k] = newBucket(10, 6*time.Second)
			}
			r := rand.New(rand.NewPCG(3, 4))
			var clients sync.WaitGroup
			var mu sync.Mutex
			for end := time.Now().Add(30 * time.Minute); time.Now().Before(end); {
				time.Sleep(time.Duration(r.ExpFloat64() / 3 * float64(time.Second))) // three of 3.3 a second
				clients.Go(func() {
					w, err := testkit.Serve(h, u, testkit.Post("x"))
					mu.Lock()
					defer mu.Unlock()
					if err != nil || w.Code != http.StatusOK {
						failed[i]++
					}
				})
			}
			clients.Wait()
			share[i] = float64(u.refused) / float64(u.calls)
		})
	}
	t.Logf("of the upstream's answers %.2f %% were rejections without, %.2f %% with; %d and %d requests failed", 100*share[0], 100*share[1], failed[0], failed[1])
	if share[0] == 0 || share[1] > share[0]/5 || failed[1] > failed[0]+5 {
		t.Errorf("rejections: %.4f without, %.4f with", share[0], share[1])
	}
}
