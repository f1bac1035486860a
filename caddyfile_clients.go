package keycycler

import "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

// parseClientTokens parses `client_tokens <token...>`.
func (h *Handler) parseClientTokens(d *caddyfile.Dispenser) error {
	tokens, err := values(d, "client_tokens", "<token...>")
	if err != nil {
		return err
	}
	h.ClientTokens = append(h.ClientTokens, tokens...)
	return wrap(d, checkTokens(h.ClientTokens))
}

// parseClientTokensFile parses `client_tokens_file <path>`.
func (h *Handler) parseClientTokensFile(d *caddyfile.Dispenser) error {
	path, err := value(d, "client_tokens_file", "<path>")
	if err != nil {
		return err
	}
	h.ClientTokensFiles = append(h.ClientTokensFiles, path)
	return wrap(d, checkTokensFiles(h.ClientTokensFiles))
}
