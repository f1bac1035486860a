package backend

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/keycycler/keycycler/internal/directive"
)

// UnmarshalCaddyfile sets up the backend from Caddyfile tokens. Syntax:
//
//	state redis <address...> {
//	    username          <name>
//	    password          <password>
//	    db                <n>
//	    prefix            <prefix>
//	    master_name       <name>
//	    sentinel_username <name>
//	    sentinel_password <password>
//	    cluster
//	    tls {
//	        ca_file     <path>
//	        cert_file   <path>
//	        key_file    <path>
//	        server_name <name>
//	        insecure_skip_verify
//	    }
//	    dial_timeout      <duration>
//	    read_timeout      <duration>
//	    write_timeout     <duration>
//	}
func (r *RedisState) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the backend's name
	backend := *d
	r.Addresses = d.RemainingArgs()
	for _, address := range r.Addresses {
		if err := checkUnlessPlaceholder(checkRedisAddress, address); err != nil {
			return backend.WrapErr(err)
		}
	}
	_, err := directive.ParseBlock(d, "redis", map[string]directive.Option{
		"username":          stringOption("redis username", "<name>", &r.Username),
		"password":          stringOption("redis password", "<password>", &r.Password),
		"db":                {Parse: r.parseDB},
		"prefix":            {Parse: r.parsePrefix},
		"master_name":       stringOption("redis master_name", "<name>", &r.MasterName),
		"sentinel_username": stringOption("redis sentinel_username", "<name>", &r.SentinelUsername),
		"sentinel_password": stringOption("redis sentinel_password", "<password>", &r.SentinelPassword),
		"cluster":           flagOption(&r.Cluster),
		"tls":               {Parse: r.parseTLS},
		"dial_timeout":      timeoutOption("redis dial_timeout", &r.DialTimeout),
		"read_timeout":      timeoutOption("redis read_timeout", &r.ReadTimeout),
		"write_timeout":     timeoutOption("redis write_timeout", &r.WriteTimeout),
	})
	if err != nil {
		return err
	}
	return directive.Wrap(&backend, r.check())
}

// checkUnlessPlaceholder leaves to Provision what only it can know.
func checkUnlessPlaceholder(check func(string) error, text string) error {
	if strings.Contains(text, "{") {
		return nil
	}
	return check(text)
}

func (r *RedisState) parsePrefix(d *caddyfile.Dispenser) (err error) {
	if r.Prefix, err = directive.Value(d, "redis prefix", "<prefix>"); err != nil {
		return err
	}
	return directive.Wrap(d, checkUnlessPlaceholder(checkRedisPrefix, r.Prefix))
}

func (r *RedisState) parseDB(d *caddyfile.Dispenser) error {
	text, err := directive.Value(d, "redis db", "<n>")
	if err != nil {
		return err
	}
	if r.DB, err = strconv.Atoi(text); err != nil {
		return d.Errf("redis db: it is no number: 0 to %d", maxRedisDB)
	}
	return directive.Wrap(d, r.checkDB())
}

func (r *RedisState) parseTLS(d *caddyfile.Dispenser) error {
	t := new(RedisTLS)
	r.TLS = t
	_, err := directive.ParseBlock(d, "redis tls", map[string]directive.Option{
		"ca_file":              stringOption("redis tls ca_file", "<path>", &t.CAFile),
		"cert_file":            stringOption("redis tls cert_file", "<path>", &t.CertFile),
		"key_file":             stringOption("redis tls key_file", "<path>", &t.KeyFile),
		"server_name":          stringOption("redis tls server_name", "<name>", &t.ServerName),
		"insecure_skip_verify": flagOption(&t.InsecureSkipVerify),
	})
	return err
}

// stringOption takes one word.
func stringOption(name, want string, field *string) directive.Option {
	return directive.Option{Parse: func(d *caddyfile.Dispenser) (err error) {
		*field, err = directive.Value(d, name, want, directive.OrUnset)
		return err
	}}
}

// flagOption takes nothing.
func flagOption(field *bool) directive.Option {
	return directive.Option{Parse: func(*caddyfile.Dispenser) error {
		*field = true
		return nil
	}}
}

func timeoutOption(name string, field *caddy.Duration) directive.Option {
	return directive.Option{Parse: func(d *caddyfile.Dispenser) error {
		text, err := directive.Value(d, name, "<duration>")
		if err != nil {
			return err
		}
		timeout, err := caddy.ParseDuration(text)
		if err != nil {
			return d.Errf("%s: it is no duration such as 500ms or 3s", name)
		}
		*field = caddy.Duration(timeout)
		return directive.Wrap(d, checkRedisTimeout(name, *field))
	}}
}

// Interface guard
var _ caddyfile.Unmarshaler = (*RedisState)(nil)
