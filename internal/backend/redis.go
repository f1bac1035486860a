package backend

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/reason"
	"github.com/keycycler/keycycler/rotator"
	"github.com/keycycler/keycycler/rotator/shared"
)

func init() {
	caddy.RegisterModule(new(RedisState))
	redis.SetLogger(redisLog{})
}

// RedisState shares what is known about keys with other Caddy nodes, through
// Redis 6.2 or later, or what speaks its protocol (Valkey, KeyDB, Dragonfly):
// a single server, Sentinel or Cluster. Every node reads its own memory: no
// request waits for Redis, nor fails without it.
//
// All strings may be placeholders such as `{env.REDIS_PASSWORD}`.
type RedisState struct {
	// Servers as `host`, `host:port` or `/path/of/a/socket`: one, the seeds of a
	// cluster, or the sentinels. The port's default is 6379.
	Addresses []string `json:"addresses,omitempty"`

	// The ACL user. Default: none, which means Redis' user `default`. A placeholder
	// such as `{file./run/secrets/redis}`, here and in the password, is replaced anew
	// for each new connection: no reload is needed when the file has changed.
	Username string `json:"username,omitempty"`

	// The user's password. Default: none.
	Password string `json:"password,omitempty"`

	// The database's number, 0 to 1000000. Not with `cluster`. Default: 0.
	DB int `json:"db,omitempty"`

	// What the names in Redis begin with. Nodes with the same prefix share what
	// they know. 1 to 64 letters, digits, dots, dashes and underscores. Default:
	// `keycycler`.
	Prefix string `json:"prefix,omitempty"`

	// The master's name, if the addresses are those of sentinels.
	MasterName string `json:"master_name,omitempty"`

	// User and password of the sentinels themselves. What their placeholders stand for
	// is read when the config is loaded. Default: none.
	SentinelUsername string `json:"sentinel_username,omitempty"`
	SentinelPassword string `json:"sentinel_password,omitempty"`

	// Whether the addresses are seeds of a Redis Cluster. It is taken for one
	// anyhow if there are several and no master's name. Default: false.
	Cluster bool `json:"cluster,omitempty"`

	// Encrypts the connections. Default: they are not encrypted.
	TLS *RedisTLS `json:"tls,omitempty"`

	// How long connecting may take. 10ms to 1m. Default: 2s.
	DialTimeout caddy.Duration `json:"dial_timeout,omitempty"`

	// How long a reply may take. 10ms to 1m. Default: 3s.
	ReadTimeout caddy.Duration `json:"read_timeout,omitempty"`

	// How long sending a command may take. 10ms to 1m. Default: 3s.
	WriteTimeout caddy.Duration `json:"write_timeout,omitempty"`

	login   func() (username, password string, err error) // as they are now
	state   *rotator.State
	journal *shared.Journal
	key     string // of the journal in journals
	joined  bool   // and not left yet
}

// RedisTLS says how connections to Redis are encrypted. An empty one trusts the
// system's certificate authorities. The files are read again for each new connection:
// no reload is needed when they are renewed.
type RedisTLS struct {
	// File with the PEM certificates of the authorities to trust. Default: the system's.
	CAFile string `json:"ca_file,omitempty"`

	// Files with this client's PEM certificate and key, if Redis wants one.
	CertFile string `json:"cert_file,omitempty"`
	KeyFile  string `json:"key_file,omitempty"`

	// The name that the server's certificate must have. Default: the address's host.
	ServerName string `json:"server_name,omitempty"`

	// Takes any certificate. Whoever is between Caddy and Redis can then read and
	// change everything: for tests alone. Default: false.
	InsecureSkipVerify bool `json:"insecure_skip_verify,omitempty"`
}

// journals holds the journals, by their config, across reloads.
var journals = caddy.NewUsagePool()

// CaddyModule returns the Caddy module information.
func (*RedisState) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.keycycler.state.redis",
		New: func() caddy.Module { return new(RedisState) },
	}
}

// Provision joins the process's state and the journal of this config. It does not
// wait for Redis, nor fail without it.
func (r *RedisState) Provision(ctx caddy.Context) error {
	// From here on they are in the client's options alone.
	defer func() { r.Password, r.SentinelPassword = "", "" }()
	if err := r.expand(); err != nil {
		return err
	}
	if err := cmp.Or(r.check(), r.checkTexts()); err != nil {
		return err
	}
	options, err := r.options()
	if err != nil {
		return err
	}
	if r.state, err = joinState(); err != nil {
		return err
	}
	r.key = r.identity()
	journal, _, err := journals.LoadOrNew(r.key, func() (caddy.Destructor, error) {
		begin, err := started(ctx)
		if err != nil {
			return nil, err
		}
		return shared.New(shared.Options{
			Begin:   begin,
			Client:  redis.NewUniversalClient(options),
			State:   r.state,
			Prefix:  r.Prefix,
			Reasons: reason.Names,
			Timeout: time.Duration(r.ReadTimeout),
			Changed: logHealth,
			Mended:  logMended,
		}), nil
	})
	if err != nil {
		return errors.Join(err, leaveState())
	}
	r.journal, r.joined = journal.(*shared.Journal), true
	return nil
}

// started returns a channel that is closed when Caddy has started this config: one
// that is only checked, or that fails, connects to nothing.
func started(ctx caddy.Context) (<-chan struct{}, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("getting the events app: %w", err)
	}
	signal := &startSignal{begin: make(chan struct{})}
	return signal.begin, app.(*caddyevents.App).On("started", signal)
}

// startSignal closes begin at Caddy's own event of that name. Other modules may have
// events of the same name, also before Caddy has started.
type startSignal struct {
	begin chan struct{}
	once  sync.Once
}

// Handle implements caddyevents.Handler.
func (s *startSignal) Handle(_ context.Context, e caddy.Event) error {
	if e.Origin() == nil {
		s.once.Do(func() { close(s.begin) })
	}
	return nil
}

// State implements StateBackend.
func (r *RedisState) State() *rotator.State { return r.state }

// Journal implements StateBackend.
func (r *RedisState) Journal() rotator.Journal { return r.journal }

// Shares returns what divides limits among the nodes.
func (r *RedisState) Shares() rotator.Shares { return r.journal }

// Keeper returns what keeps the usage of all nodes.
func (r *RedisState) Keeper() *rotator.Keeper { return r.journal.Keeper() }

// Health tells how the sharing fares.
func (r *RedisState) Health() shared.Health { return r.journal.Health() }

// Cleanup leaves the journal and the state, which go when no config uses them any
// more. Who still asks for them gets them: Caddy may clean this up before the handlers
// that use it.
func (r *RedisState) Cleanup() error {
	if !r.joined {
		return nil
	}
	r.joined = false
	_, err := journals.Delete(r.key)
	return errors.Join(err, leaveState())
}

// Format writes which state this is, whatever the verb: its config may hold
// passwords in plain text.
func (r RedisState) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "redis state %q", r.Addresses) }

// identity tells configs apart without keeping their passwords. The certificates
// are part of it: a reload takes up renewed ones.
func (r *RedisState) identity() string {
	config, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers alone
	}
	sum := sha256.New()
	sum.Write(config)
	if t := r.TLS; t != nil {
		for _, path := range []string{t.CAFile, t.CertFile, t.KeyFile} {
			pem, _ := os.ReadFile(path) // what cannot be read was an error before
			fmt.Fprintf(sum, "%x", sha256.Sum256(pem))
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// options are go-redis'. Trying again is the journal's business, so go-redis does
// not.
func (r *RedisState) options() (*redis.UniversalOptions, error) {
	o := &redis.UniversalOptions{
		ClientName:    "keycycler",
		DB:            r.DB,
		Username:      r.Username,
		Password:      r.Password,
		MasterName:    r.MasterName,
		IsClusterMode: r.isCluster(),

		SentinelUsername: r.SentinelUsername,
		SentinelPassword: r.SentinelPassword,

		DialTimeout:           time.Duration(r.DialTimeout),
		ReadTimeout:           time.Duration(r.ReadTimeout),
		WriteTimeout:          time.Duration(r.WriteTimeout),
		ContextTimeoutEnabled: true,
		MaxRetries:            -1,
		DialerRetries:         1,
		PoolSize:              4, // one listens, one writes, one asks for parts of limits, one keeps usage
		PipelinePoolSize:      -1,
		FailingTimeoutSeconds: 1,

		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	for _, address := range r.Addresses {
		o.Addrs = append(o.Addrs, withPort(address))
	}
	if login := r.login; login != nil {
		o.CredentialsProviderContext = func(context.Context) (string, string, error) { return login() }
	}
	if r.TLS != nil {
		config, err := r.TLS.config()
		if err != nil {
			return nil, fmt.Errorf("redis tls: %w", err)
		}
		o.TLSConfig, o.Dialer = config, r.TLS.dialer(o.DialTimeout)
	}
	return o, nil
}

// dialer connects with the certificates that stand in the files then.
func (t *RedisTLS) dialer(timeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	files := *t
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		config, err := files.config()
		if err != nil {
			return nil, fmt.Errorf("redis tls: %w", err)
		}
		return redis.NewDialer(&redis.Options{DialTimeout: timeout, TLSConfig: config})(ctx, network, address)
	}
}

// withPort adds the default port where there is none. Sockets stay as they are.
func withPort(address string) string {
	if strings.HasPrefix(address, "/") {
		return address
	}
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), defaultRedisPort)
}

func (t *RedisTLS) config() (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.InsecureSkipVerify, //nolint:gosec // an operator's choice, documented
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: no certificate in %s", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cert_file: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// redisLogger is not the module's own: the journal outlives the config that made
// it, and whose log may be closed.
func redisLogger() *zap.Logger { return caddy.Log().Named(StateNamespace + ".redis") }

// logHealth writes one line when Redis goes away or comes back.
func logHealth(h shared.Health) {
	if h.Healthy {
		redisLogger().Info("redis is back", zap.Int("queue", h.Queue))
		return
	}
	redisLogger().Warn("redis is away: this node goes on with what it knows", zap.Error(h.Err))
}

// logMended writes one line when Redis has lost something, or holds what no node has
// written.
func logMended(what string) {
	redisLogger().Warn("redis has lost data, or holds data of somebody else: it is made anew from what the nodes know", zap.String("lost", what))
}

// redisLog takes what go-redis says by itself, which is about single connections,
// to Caddy's debug log.
type redisLog struct{}

// Printf implements go-redis' logger.
func (redisLog) Printf(_ context.Context, format string, v ...any) {
	if c := redisLogger().Check(zap.DebugLevel, "go-redis"); c != nil {
		c.Write(zap.String("message", fmt.Sprintf(format, v...)))
	}
}

// Interface guards
var (
	_ fmt.Formatter      = RedisState{}
	_ caddy.Provisioner  = (*RedisState)(nil)
	_ caddy.CleanerUpper = (*RedisState)(nil)
	_ StateBackend       = (*RedisState)(nil)
)
