package status

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
)

// BenchmarkPage renders pages of pools of two sizes: the first one, and what costs
// the most, the last one of what is not sorted by id.
func BenchmarkPage(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		src := &fake{pools: []Pool{{Name: "large", Keys: n, Ready: n}}, keys: map[string][]Key{"large": manyKeys(n)}}
		for name, query := range map[string]string{
			"first":  "",
			"sorted": "?sort=last_used&order=desc",
			"last":   "?sort=attempts&page=" + strconv.Itoa(n/pageSize),
		} {
			b.Run(strconv.Itoa(n)+"/"+name, func(b *testing.B) {
				h := New(src, prefix)
				b.ReportAllocs()
				size := 0
				for b.Loop() {
					w := httptest.NewRecorder()
					h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, prefix+query, nil))
					size = w.Body.Len()
				}
				b.ReportMetric(float64(size)/1000, "kB/page")
			})
		}
	}
}
