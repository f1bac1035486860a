package credential

import (
	"context"
	"net/http"

	"github.com/keycycler/keycycler/rotator"
)

// request returns the request of an attempt that no handler has made.
func (in *Injector) request(ctx context.Context, r *http.Request, s rotator.Slot) *http.Request {
	o := new(Outgoing)
	in.Fill(ctx, o, r, s)
	return &o.Request
}
