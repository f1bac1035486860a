package observe

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

	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/rotator"
)

// Of one message a pool logs so many lines a second, and then each so many-th:
// when a thousand keys meet their limit at once, the log tells that, and the
// metrics how many.
const (
	LogFirst = 10
	LogEach  = 100
)

func Sampled(logger *zap.Logger) *zap.Logger {
	return logger.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, LogFirst, LogEach)
	}))
}

// Caddy events.
const (
	eventCooling   = "keycycler_cooling"
	eventExhausted = "keycycler_exhausted"
	eventRests     = "keycycler_upstream_rests"
	eventBack      = "keycycler_upstream_back"
)

// Announcer tells people and other modules what happens to a pool: one line a
// change, and an event if somebody has subscribed to it.
type Announcer struct {
	Logger  *zap.Logger
	Sampled *zap.Logger // for what may come in bursts
	ctx     caddy.Context
	events  *caddyevents.App // nil: there is none, and so nobody listens
}

func NewAnnouncer(ctx caddy.Context, logger *zap.Logger) (*Announcer, error) {
	a := &Announcer{Logger: logger, Sampled: Sampled(logger), ctx: ctx}
	switch app, err := ctx.AppIfConfigured("events"); { // the http app has loaded it by now
	case err == nil:
		a.events = app.(*caddyevents.App)
	case !errors.Is(err, caddy.ErrNotConfigured):
		return nil, err
	}
	return a, nil
}

// ExhaustedModel tells that a pool has no key that is ready for a model.
func (a *Announcer) ExhaustedModel(model string, keys int, out Shortage) {
	a.Logger.Warn("no key is ready for the model",
		zap.String("model", model),
		zap.Int("keys", keys),
		zap.String("class", out.Class),
		zap.Float64("seconds", out.Wait.Seconds()))
}

// UnknownModel tells of a request for a model that no key serves.
func (a *Announcer) UnknownModel(model string, keys int) {
	a.Logger.Warn("no key serves the model: add it to the models of a block of keys", zap.String("model", model), zap.Int("keys", keys))
}

// ReadyModel tells that a pool has keys again for a model.
func (a *Announcer) ReadyModel(model string) {
	a.Logger.Info("keys are ready again for the model", zap.String("model", model))
}

// ExhaustedLimit tells that no key of a pool is ready, of which some are at the limit of
// the config: that may come and go many times a second. The model is "" where that
// holds for all of them.
func (a *Announcer) ExhaustedLimit(model string, keys int, out Shortage) {
	if e := a.Sampled.Check(zapcore.WarnLevel, "no key is ready: some are at their limit"); e != nil {
		e.Write(
			zap.String("model", model),
			zap.Int("keys", keys),
			zap.String("class", out.Class),
			zap.Float64("seconds", out.Wait.Seconds()),
		)
	}
}

// ExhaustedOwner tells that none of the keys is ready that can serve a request for what
// one of them has made.
func (a *Announcer) ExhaustedOwner(keys int, out Shortage) {
	if e := a.Sampled.Check(zapcore.WarnLevel, "no key is ready that can use the resource"); e != nil {
		e.Write(zap.Int("keys", keys), zap.String("class", out.Class), zap.Float64("seconds", out.Wait.Seconds()))
	}
}

// listened tells whether somebody wants to hear of the event.
func (a *Announcer) listened(event string) bool { return a.events != nil && a.events.ShouldEmit(event) }

// CooledKey is a key that an answer has taken out of the draw.
type CooledKey struct {
	Pool   string
	Key    rotator.Key
	Name   string // "": none
	Status int
	Class  string
	Source string
	Scope  string
	Rests  time.Duration
	Spent  bool // a success left nothing of its allowance
}

// Shortage is why no key is ready, and until when.
type Shortage struct {
	Class string
	Wait  time.Duration
}

// KeyName is the field of a key's name in log lines, beside that of its id: only where it
// has one.
func KeyName(name string) zap.Field {
	if name == "" {
		return zap.Skip()
	}
	return zap.String("key_name", name)
}

// LogCooling writes the line.
func (a *Announcer) LogCooling(c CooledKey) {
	level := zapcore.InfoLevel
	if c.Spent {
		level = zapcore.DebugLevel // nothing was rejected, and it may happen many times a minute
	}
	if e := a.Sampled.Check(level, "key is cooling"); e != nil {
		e.Write(
			zap.Stringer("key_id", c.Key),
			KeyName(c.Name),
			zap.Int("status", c.Status),
			zap.String("class", c.Class),
			zap.String("source", c.Source),
			zap.String("scope", c.Scope),
			zap.Float64("seconds", c.Rests.Seconds()),
		)
	}
}

// EmitCooling runs subscribers, which may take their time: call it without a lock.
func (a *Announcer) EmitCooling(c CooledKey) {
	if !a.listened(eventCooling) {
		return
	}
	a.events.Emit(a.ctx, eventCooling, map[string]any{
		"pool":     c.Pool,
		"key_id":   c.Key.String(),
		"key_name": c.Name,
		"status":   c.Status,
		"class":    c.Class,
		"source":   c.Source,
		"scope":    c.Scope,
		"seconds":  c.Rests.Seconds(),
	})
}

// Unauthorized tells of a request without a valid client token.
func (a *Announcer) Unauthorized(presented bool) {
	if e := a.Sampled.Check(zapcore.DebugLevel, "request has no valid client token"); e != nil {
		e.Write(zap.Bool("presented", presented))
	}
}

// ClientLimited tells that a client has come to a limit of its own. Whoever chooses the
// client's name could have written a secret into it.
func (a *Announcer) ClientLimited(client, limit string, wait time.Duration) {
	if e := a.Sampled.Check(zapcore.InfoLevel, "client is at its limit"); e != nil {
		if len(client) > directive.MaxName || directive.LooksLikeKey(client) {
			client = "(not shown: it could be a key)"
		}
		e.Write(zap.String("client", client), zap.String("limit", limit), zap.Float64("seconds", wait.Seconds()))
	}
}

// Back tells that a key is ready again before its time.
func (a *Announcer) Back(key Place) {
	a.Logger.Info("key is ready before its time", zap.Stringer("key_id", key.ID()), KeyName(key.Name()))
}

// Rested is an address of an upstream at which attempts fail, or have failed.
type Rested struct {
	Pool    string
	Address string
	Kind    string // of the failure; "": it has answered, and its rest is over
	Err     error  // or nil
	Rests   time.Duration
}

// LogRest writes the line.
func (a *Announcer) LogRest(r Rested) {
	if r.Kind == "" {
		a.Logger.Info("upstream is back", zap.String("upstream", r.Address))
		return
	}
	a.Logger.Warn("upstream rests",
		zap.String("upstream", r.Address),
		zap.String("kind", r.Kind),
		zap.Float64("seconds", r.Rests.Seconds()),
		zap.Error(r.Err))
}

// EmitRest runs subscribers, which may take their time: call it without a lock.
func (a *Announcer) EmitRest(r Rested) {
	data := map[string]any{"pool": r.Pool, "upstream": r.Address}
	event := eventBack
	if r.Kind != "" {
		event, data["kind"], data["seconds"] = eventRests, r.Kind, r.Rests.Seconds()
	}
	if a.listened(event) {
		a.events.Emit(a.ctx, event, data)
	}
}

// Paced tells that a pool asks the upstream now and then only, since it refuses everything.
func (a *Announcer) Paced() {
	a.Logger.Warn("every key refuses every request: the upstream is asked now and then")
}

// Reopened tells that the upstream serves requests again.
func (a *Announcer) Reopened() { a.Logger.Info("requests are served again") }

// Exhausted tells that a pool has no key that is ready.
func (a *Announcer) Exhausted(pool string, keys int, out Shortage) {
	a.Logger.Warn("no key is ready",
		zap.Int("keys", keys),
		zap.String("class", out.Class),
		zap.Float64("seconds", out.Wait.Seconds()))
	if !a.listened(eventExhausted) {
		return
	}
	a.events.Emit(a.ctx, eventExhausted, map[string]any{
		"pool":    pool,
		"keys":    keys,
		"class":   out.Class,
		"seconds": out.Wait.Seconds(),
	})
}

// Tracer adds a span event for each attempt, if Caddy's `tracing` has begun a span
// for the request.
type Tracer struct{ span trace.Span }

func TracerFor(r *http.Request) Tracer { return Tracer{trace.SpanFromContext(r.Context())} }

// Attempt notes one call to the upstream. system is the provider's name of OpenTelemetry's,
// if it has one. Names are OpenTelemetry's where it has
// any (https://opentelemetry.io/docs/specs/semconv/gen-ai/).
func (t Tracer) Attempt(system string, rep *Report, status int, outcome string) {
	if !t.span.IsRecording() {
		return
	}
	attributes := []attribute.KeyValue{
		attribute.String("keycycler.pool", rep.Pool.name()),
		attribute.String("keycycler.key_id", rep.key().ID().String()),
		attribute.Int("keycycler.attempt", int(rep.attempts)),
		attribute.String("keycycler.outcome", outcome),
	}
	if name := rep.key().Name(); name != "" {
		attributes = append(attributes, attribute.String("keycycler.key_name", name))
	}
	if system != "" {
		attributes = append(attributes, attribute.String("gen_ai.provider.name", system))
	}
	if model := rep.Model(); model != "" {
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
