package upstream

import (
	"context"
	"errors"
	"net"
)

// ErrFirstByte is the cause by which an attempt is canceled that had no response header in
// time. reverse_proxy answers it with 504: it is a net.Error that has timed out.
var ErrFirstByte error = firstByteError{}

type firstByteError struct{}

// Error implements error.
func (firstByteError) Error() string { return "keycycler: no response header within first_byte" }

// Timeout implements net.Error.
func (firstByteError) Timeout() bool { return true }

// Temporary implements net.Error.
func (firstByteError) Temporary() bool { return true }

// ErrUntaken is why an attempt ends whose upstream says again and again that it has not
// begun to process the request.
var ErrUntaken = errors.New("keycycler: the upstream does not take the request")

var errProxy = errors.New("keycycler: the key's proxy is no URL")

// cause returns why the round trip has failed: where the attempt was canceled, the cause of
// that. Over HTTP/2 net/http tells context.Canceled alone, for which reverse_proxy says
// that the client has left.
func cause(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

var _ net.Error = firstByteError{}
