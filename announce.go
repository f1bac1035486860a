package keycycler

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/keycycler/keycycler/rotator"
)

// Of one message a pool logs so many lines a second, and then each so many-th:
// when a thousand keys meet their limit at once, the log tells that, and the
// metrics how many.
const (
	logFirst = 10
	logEach  = 100
)

func sampled(logger *zap.Logger) *zap.Logger {
	return logger.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, logFirst, logEach)
	}))
}

// Caddy events.
const (
	eventCooling   = "keycycler_cooling"
	eventExhausted = "keycycler_exhausted"
)

// announcer tells people and other modules what happens to a pool: one line a
// change, and an event if somebody has subscribed to it.
type announcer struct {
	logger  *zap.Logger
	sampled *zap.Logger // for what may come in bursts
	ctx     caddy.Context
	events  *caddyevents.App // nil: there is none, and so nobody listens
}

func newAnnouncer(ctx caddy.Context, logger *zap.Logger) (*announcer, error) {
	a := &announcer{logger: logger, sampled: sampled(logger), ctx: ctx}
	switch app, err := ctx.AppIfConfigured("events"); { // the http app has loaded it by now
	case err == nil:
		a.events = app.(*caddyevents.App)
	case !errors.Is(err, caddy.ErrNotConfigured):
		return nil, err
	}
	return a, nil
}

// exhaustedModel tells that a pool has no key that is ready for a model.
func (a *announcer) exhaustedModel(model string, keys int, out shortage) {
	if e := a.sampled.Check(zapcore.WarnLevel, "no key is ready for the model"); e != nil {
		e.Write(
			zap.String("model", model),
			zap.Int("keys", keys),
			zap.String("class", out.class),
			zap.Float64("seconds", out.wait.Seconds()),
		)
	}
}

// exhaustedLimit tells that no key of a pool is ready, of which some are at the limit of
// the config: that may come and go many times a second.
func (a *announcer) exhaustedLimit(keys int, out shortage) {
	if e := a.sampled.Check(zapcore.WarnLevel, "no key is ready: some are at their limit"); e != nil {
		e.Write(
			zap.Int("keys", keys),
			zap.String("class", out.class),
			zap.Float64("seconds", out.wait.Seconds()),
		)
	}
}

// exhaustedOwner tells that none of the keys is ready that can serve a request for what
// one of them has made.
func (a *announcer) exhaustedOwner(keys int, out shortage) {
	if e := a.sampled.Check(zapcore.WarnLevel, "no key is ready that can use the resource"); e != nil {
		e.Write(zap.Int("keys", keys), zap.String("class", out.class), zap.Float64("seconds", out.wait.Seconds()))
	}
}

// listened tells whether somebody wants to hear of the event.
func (a *announcer) listened(event string) bool { return a.events != nil && a.events.ShouldEmit(event) }

// cooledKey is a key that an answer has taken out of the draw.
type cooledKey struct {
	pool   string
	key    rotator.Key
	status int
	class  string
	source string
	scope  string
	rests  time.Duration
	spent  bool // a success left nothing of its allowance
}

// shortage is why no key is ready, and until when.
type shortage struct {
	class string
	wait  time.Duration
}

// logCooling writes the line.
func (a *announcer) logCooling(c cooledKey) {
	level := zapcore.InfoLevel
	if c.spent {
		level = zapcore.DebugLevel // nothing was rejected, and it may happen many times a minute
	}
	if e := a.sampled.Check(level, "key is cooling"); e != nil {
		e.Write(
			zap.Stringer("key_id", c.key),
			zap.Int("status", c.status),
			zap.String("class", c.class),
			zap.String("source", c.source),
			zap.String("scope", c.scope),
			zap.Float64("seconds", c.rests.Seconds()),
		)
	}
}

// emitCooling runs subscribers, which may take their time: call it without a lock.
func (a *announcer) emitCooling(c cooledKey) {
	if !a.listened(eventCooling) {
		return
	}
	a.events.Emit(a.ctx, eventCooling, map[string]any{
		"pool":    c.pool,
		"key_id":  c.key.String(),
		"status":  c.status,
		"class":   c.class,
		"source":  c.source,
		"scope":   c.scope,
		"seconds": c.rests.Seconds(),
	})
}

// unauthorized tells of a request without a valid client token.
func (a *announcer) unauthorized(presented bool) {
	if e := a.sampled.Check(zapcore.DebugLevel, "request has no valid client token"); e != nil {
		e.Write(zap.Bool("presented", presented))
	}
}

// back tells that a key is ready again before its time.
func (a *announcer) back(key rotator.Key) {
	a.logger.Info("key is ready before its time", zap.Stringer("key_id", key))
}

// stopped tells that a request was refused by so many keys that it is not their
// fault, and whether that has closed the pool.
func (a *announcer) stopped(refusals int, closed bool) {
	if closed {
		a.logger.Warn("every key refuses every request: the upstream is asked now and then")
		return
	}
	if e := a.sampled.Check(zapcore.WarnLevel, "request was refused by key after key: they are not blamed for it"); e != nil {
		e.Write(zap.Int("keys", refusals))
	}
}

// reopened tells that the upstream serves requests again.
func (a *announcer) reopened(back int) {
	a.logger.Info("requests are served again", zap.Int("keys", back))
}

// exhausted tells that a pool has no key that is ready.
func (a *announcer) exhausted(pool string, keys int, out shortage) {
	a.logger.Warn("no key is ready",
		zap.Int("keys", keys),
		zap.String("class", out.class),
		zap.Float64("seconds", out.wait.Seconds()))
	if !a.listened(eventExhausted) {
		return
	}
	a.events.Emit(a.ctx, eventExhausted, map[string]any{
		"pool":    pool,
		"keys":    keys,
		"class":   out.class,
		"seconds": out.wait.Seconds(),
	})
}

// tracer adds a span event for each attempt, if Caddy's `tracing` has begun a span
// for the request.
type tracer struct{ span trace.Span }

func tracerFor(r *http.Request) tracer { return tracer{trace.SpanFromContext(r.Context())} }

// attempt notes one call to the upstream. system is the provider's name of OpenTelemetry's,
// if it has one. Names are OpenTelemetry's where it has
// any (https://opentelemetry.io/docs/specs/semconv/gen-ai/).
func (t tracer) attempt(system string, rep *report, status int, outcome string) {
	if !t.span.IsRecording() {
		return
	}
	attributes := []attribute.KeyValue{
		attribute.String("keycycler.pool", rep.pool),
		attribute.String("keycycler.key_id", rep.key.String()),
		attribute.Int("keycycler.attempt", rep.attempts),
		attribute.String("keycycler.outcome", outcome),
	}
	if system != "" {
		attributes = append(attributes, attribute.String("gen_ai.provider.name", system))
	}
	if model := rep.model(); model != "" {
		attributes = append(attributes, attribute.String("gen_ai.request.model", model))
	}
	if status != 0 {
		attributes = append(attributes, attribute.Int("http.response.status_code", status))
	}
	if outcome != outcomeServed {
		attributes = append(attributes, attribute.String("error.type", outcome))
	}
	t.span.AddEvent("keycycler.attempt", trace.WithAttributes(attributes...))
}
