package shared

import (
	"context"
	"flag"
	"testing"

	"github.com/redis/go-redis/v9"
)

// quiet takes what go-redis says about single connections.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	// Most of these tests wait for servers: more of them than there are cores may run at
	// a time, unless the command line says how many.
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		_ = flag.Set("test.parallel", "32")
	}
	m.Run()
}
