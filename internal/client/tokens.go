package client

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/keycycler/keycycler/internal/credential"
	"github.com/keycycler/keycycler/internal/directive"
	"github.com/keycycler/keycycler/internal/keyset"
)

const (
	// shortToken is below which a token, in bytes, is said to be guessable.
	shortToken = 16

	// digestPrefix begins a token that is written as its SHA-256.
	digestPrefix = "sha256:"
)

// digest is the SHA-256 of a client's token: all that is kept of it.
type digest [sha256.Size]byte

// Client is whom a token lets in. It is immutable.
type Client struct {
	digest digest
	Name   string
	user   any  // the name as a clientName, made once, so that requests allocate nothing
	short  bool // the token is known, and short
}

// tokenSet is the clients of one moment, by the digests of their tokens.
type tokenSet map[digest]*Client

// parseClient reads `[<name>:]<token>` or `[<name>:]sha256:<64 hex digits>`. What stands
// before the first colon is the name. Errors show nothing of the text.
func parseClient(text string) (*Client, error) {
	if err := keyset.Slip(text); err != nil {
		return nil, err
	}
	name, token := "", text
	if before, after, ok := strings.Cut(text, ":"); ok && !strings.HasPrefix(text, digestPrefix) {
		if err := checkClientName(before); err != nil {
			return nil, err
		}
		name, token = before, after
	}
	if err := keyset.Slip(token); err != nil {
		return nil, err
	}
	c := &Client{Name: name, user: clientName(name)}
	if digits, ok := strings.CutPrefix(token, digestPrefix); ok {
		if n, err := hex.Decode(c.digest[:], []byte(digits[:min(len(digits), 2*len(c.digest))])); err != nil || n != len(c.digest) || len(digits) != 2*n {
			return nil, fmt.Errorf("%s wants %d hex digits behind it, as sha256sum prints them", digestPrefix, 2*len(c.digest))
		}
		return c, nil
	}
	if err := checkToken(token); err != nil {
		return nil, err
	}
	c.digest, c.short = sha256.Sum256([]byte(token)), len(token) < shortToken
	return c, nil
}

func checkClientName(name string) error {
	if name == "" || !directive.IsName(name) || strings.HasPrefix(name, "sk-") {
		return fmt.Errorf("the name before the colon must be 1 to %d letters, digits, dots, dashes or underscores and not begin with sk-: a token that has a colon needs a name before it", directive.MaxName)
	}
	return nil
}

func checkToken(token string) error {
	hidden := func(r rune) bool { return r < 0x21 || r > 0x7e }
	switch i := strings.IndexFunc(token, hidden); {
	case token == "":
		return errors.New("the token is empty")
	case len(token) > credential.MaxLen:
		return fmt.Errorf("the token is %d bytes long: at most %d are allowed", len(token), credential.MaxLen)
	case i >= 0:
		return fmt.Errorf("the token has something else than visible ASCII at byte %d", i+1)
	}
	return nil
}

// Source is where clients' tokens come from.
type Source struct {
	From *keyset.Inputs // behind a pointer, so that what prints a struct around it stops there
	Log  *zap.Logger

	Limited []string // names of clients that have limits of their own
}

// shownStrangers is how many of them the log names.
const shownStrangers = 5

// tellStrangers warns of limits that nobody has, since each token has a name and none has
// theirs.
func (s *Source) tellStrangers(set tokenSet) {
	known := make(map[string]bool, len(set))
	for _, c := range set {
		known[c.Name] = true
	}
	if known[""] {
		return // whoever has that token may be named by somebody else
	}
	strangers := slices.DeleteFunc(slices.Clone(s.Limited), func(name string) bool { return known[name] || name == otherClients })
	if slices.Sort(strangers); len(strangers) > 0 {
		s.Log.Warn("clients that have limits have no token: a token's name is what counts",
			zap.Strings("clients", strangers[:min(len(strangers), shownStrangers)]), zap.Int("count", len(strangers)))
	}
}

// CheckTokens checks tokens that have no placeholders, so that an error in a
// Caddyfile names the line.
func CheckTokens(texts []string) error {
	if texts != nil && len(texts) == 0 {
		return errors.New("client_tokens: the list is empty: add a token, or leave the option out to let everybody in")
	}
	for i, text := range texts {
		if strings.ContainsAny(text, "{}") {
			continue
		}
		if keyset.IsPath(text) {
			return fmt.Errorf("client_tokens: token %d: it looks like a path: a file of tokens belongs behind 'client_tokens_file'", i+1)
		}
		if _, err := parseClient(strings.TrimSpace(text)); err != nil {
			return fmt.Errorf("client_tokens: token %d: %w", i+1, err)
		}
	}
	return nil
}

// CheckTokensFiles finds a token that stands where a path belongs, if it can be
// told from one.
func CheckTokensFiles(paths []string) error {
	if paths != nil && len(paths) == 0 {
		return errors.New("client_tokens_file: the list is empty: add a file, or leave the option out to let everybody in")
	}
	for _, path := range paths {
		switch {
		case path == "":
			return errors.New("client_tokens_file: the path is empty")
		case strings.HasPrefix(path, "sk-") && !isPath(path):
			return errors.New("client_tokens_file: the path begins with sk-, as keys do: tokens belong behind 'client_tokens' (write ./sk-… for a file)")
		}
	}
	return nil
}

// isPath tells whether the text looks like a path, rather than like a token.
func isPath(text string) bool { return strings.ContainsAny(text, `./\{`) }

// shownPath is a path in errors.
func shownPath(path string) string {
	if !isPath(path) {
		return "(not shown: it could be a token)"
	}
	return path
}

// Format writes nothing of the source, whatever the verb: it may hold tokens in plain text.
func (s *Source) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%d tokens and %d files", len(s.From.Texts), len(s.From.Paths))
}

// read reads the tokens of the options client_tokens and client_tokens_file.
func (s *Source) read() (tokenSet, error) {
	r := tokenReader{set: make(tokenSet), from: make(map[digest]string), log: s.Log}
	repl := caddy.NewReplacer()
	for i, text := range s.From.Texts {
		where := fmt.Sprintf("client_tokens: token %d", i+1)
		text, err := keyset.Expand(repl, text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		if err := r.add(strings.TrimSpace(text), where); err != nil {
			return nil, err
		}
	}
	for _, path := range s.From.Paths {
		if err := keyset.ReadFile(repl, path, shownPath(path), r.addLines); err != nil {
			return nil, fmt.Errorf("client_tokens_file: %w", err)
		}
	}
	return r.set, nil
}

// tokenReader collects tokens, each once.
type tokenReader struct {
	set  tokenSet
	from map[digest]string // where the token stood first
	log  *zap.Logger
}

// addLines adds one token a line; path names the source in errors.
func (r *tokenReader) addLines(lines io.Reader, path string) error {
	return keyset.EachLineOf(lines, path, r.add)
}

// add keeps the token unless it is there already. where is for people.
func (r *tokenReader) add(text, where string) error {
	c, err := parseClient(text)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	if first, doubled := r.from[c.digest]; doubled {
		r.log.Warn("client token stands twice: the first counts", zap.String("at", where), zap.String("first", first))
		return nil
	}
	if c.short {
		r.log.Warn("client token is short: it can be guessed", zap.String("at", where), zap.Int("recommended_bytes", shortToken))
	}
	r.from[c.digest], r.set[c.digest] = where, c
	return nil
}
