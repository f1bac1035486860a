package shared

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
)

// quiet takes what go-redis says about single connections.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	m.Run()
}
