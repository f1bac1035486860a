package gateway

import (
	"context"
	"net"
	"reflect"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A client of HTTP/1.1 that leaves is noticed by net/http when its body was read to the
// end, and by us when a read of the body fails. Where the rest of a body stays where it
// is, since it has not been asked for (Expect: 100-continue) or there is no room for it,
// nobody reads: so the connection itself is looked at while such a request waits.

// lookInterval is how often.
const lookInterval = 250 * time.Millisecond

// connKey is under which a request's context holds its connection.
type connKey struct{}

// joinServer makes the server tell of its connections, and of its end.
func (g *Gateway) joinServer() {
	server, ok := g.Events.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return
	}
	server.RegisterOnShutdown(closeRooms)
	if g.MaxWait > 0 {
		server.RegisterConnContext(withConn)
	}
}

func withConn(ctx context.Context, conn net.Conn) context.Context {
	if ctx.Value(connKey{}) != nil {
		return ctx // another pool of the site does this
	}
	return context.WithValue(ctx, connKey{}, conn)
}

// observed is the connection of a client that waits, and when to look at it: never
// where net/http does.
type observed struct {
	conn net.Conn
	look <-chan time.Time
	stop func()
}

// observe begins to look. Call stop.
func (x *exchange) observe() observed {
	conn, ok := x.r.Context().Value(connKey{}).(net.Conn)
	if !ok || x.body == nil || x.r.ProtoMajor != 1 {
		return observed{stop: func() {}}
	}
	tick := time.NewTicker(lookInterval)
	return observed{conn, tick.C, tick.Stop}
}

// rawConn returns the system's side of a connection, under TLS and what else listeners
// have put around it; nil where it is not to be had.
func rawConn(conn net.Conn) syscall.RawConn {
	for range 10 {
		switch c := conn.(type) {
		case syscall.Conn:
			raw, err := c.SyscallConn()
			if err != nil {
				return nil
			}
			return raw
		case interface{ NetConn() net.Conn }: // crypto/tls
			conn = c.NetConn()
		case interface{ Raw() net.Conn }: // the PROXY protocol
			conn = c.Raw()
		default:
			conn = embedded(conn)
		}
	}
	return nil
}

// embedded returns the net.Conn that a struct around it embeds, as those of Caddy do
// that only watch for a protocol; nil if there is none.
func embedded(conn net.Conn) net.Conn {
	v := reflect.Indirect(reflect.ValueOf(conn))
	if v.Kind() != reflect.Struct {
		return nil
	}
	field, ok := v.Type().FieldByName("Conn")
	if !ok || len(field.Index) != 1 {
		return nil
	}
	inner, _ := v.FieldByIndex(field.Index).Interface().(net.Conn)
	return inner
}
