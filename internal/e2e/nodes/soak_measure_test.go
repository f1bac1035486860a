//go:build unix

package nodes

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// soakSample is what a process holds at a moment; NaN where it cannot be told.
type soakSample map[string]float64

// soakMeasure is one thing that it holds, and how much more of it counts as noise.
type soakMeasure struct {
	name  string
	unit  string
	scale float64
	noise float64 // in units, beside a tenth of the mean
}

var soakMeasures = []soakMeasure{
	{"resident memory", "MiB", 1 << 20, 24},
	{"heap in use", "MiB", 1 << 20, 16},
	{"goroutines", "", 1, 60},
	{"open files", "", 1, 60},
}

// sample asks the node's metrics, and the kernel where it has /proc.
func (s *soak) sample() soakSample {
	text := metricsOf(s.node)
	pid := strconv.Itoa(s.node.cmd.Process.Pid)
	return soakSample{
		"resident memory": residentMemory(pid),
		"heap in use":     metricValue(text, "go_memstats_heap_inuse_bytes"),
		"goroutines":      metricValue(text, "go_goroutines"),
		"open files":      openFiles(pid),
	}
}

// metricsOf returns "" while the admin API has no listener: during a reload.
func metricsOf(n *node) string {
	res, err := http.Get(n.admin + "/metrics")
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return string(text)
}

func metricValue(text, name string) float64 {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			if v, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil {
				return v
			}
		}
	}
	return math.NaN()
}

func residentMemory(pid string) float64 {
	status, _ := os.ReadFile(filepath.Join("/proc", pid, "status"))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			if kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64); err == nil {
				return kb * 1024
			}
		}
	}
	return math.NaN()
}

func openFiles(pid string) float64 {
	files, err := os.ReadDir(filepath.Join("/proc", pid, "fd"))
	if err != nil {
		return math.NaN()
	}
	return float64(len(files))
}

// soakFit is a line through the samples of one measure, without the first quarter of
// the time.
type soakFit struct {
	soakMeasure
	samples    int
	mean, most float64
	growth     float64 // over the time of the samples
}

func (m soakMeasure) fit(samples []soakSample) soakFit {
	var values []float64
	for _, s := range samples[len(samples)/4:] {
		if v := s[m.name]; !math.IsNaN(v) {
			values = append(values, v/m.scale)
		}
	}
	f := soakFit{soakMeasure: m, samples: len(values)}
	for _, v := range values {
		f.mean += v / float64(len(values))
		f.most = max(f.most, v)
	}
	f.growth = slope(values, f.mean) * float64(len(values)-1)
	return f
}

// slope is that of the line of least squares, per sample.
func slope(values []float64, mean float64) float64 {
	middle := float64(len(values)-1) / 2
	var covariance, variance float64
	for i, v := range values {
		x := float64(i) - middle
		covariance += x * (v - mean)
		variance += x * x
	}
	if variance == 0 {
		return 0
	}
	return covariance / variance
}

// grows tells whether the growth is more than noise.
func (f soakFit) grows() bool { return f.growth > f.mean/10+f.noise }

func (f soakFit) String() string {
	return fmt.Sprintf("%-24s %9.1f %s on average, %.1f at most, %+.1f over %d samples", f.name, f.mean, f.unit, f.most, f.growth, f.samples)
}

func TestSoakFit(t *testing.T) {
	line := func(start, step float64) (samples []soakSample) {
		for i := range 40 {
			samples = append(samples, soakSample{"goroutines": start + step*float64(i) + float64(i%3)})
		}
		return samples
	}
	m := soakMeasures[2]
	for _, test := range []struct {
		name        string
		start, step float64
		grows       bool
	}{
		{"flat but for noise", 500, 0, false},
		{"a leak of ten a sample", 500, 10, true},
		{"what shrinks does not grow", 5000, -100, false},
	} {
		if f := m.fit(line(test.start, test.step)); f.grows() != test.grows || math.Abs(f.growth-29*test.step) > 3 {
			t.Errorf("%s: %s grows: %t", test.name, f, f.grows())
		}
	}
	if f := m.fit(nil); f.grows() || f.samples != 0 {
		t.Errorf("no samples: %s", f)
	}
}
