package keycycler

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/keycycler/keycycler/ttl"
)

// providerAuth says how a key travels: exactly one of Bearer, Header and Query is set.
type providerAuth struct {
	Bearer bool   // as `Authorization: Bearer <key>`
	Header string // in the header of this name …
	Prefix string // … behind this word and a space, unless it is ""
	Query  string // in the query parameter of this name
}

// provider is a preset: how an upstream wants its key, what its answers mean,
// and the shape of its errors. A new one is a row in providers.
type provider struct {
	name    string               // the option's value
	auth    providerAuth         // how the key is sent, unless the option auth says otherwise
	openAI  string               // what the paths begin with at which it imitates OpenAI's API, or ""
	account []string             // headers that tie a key to an account, in canonical spelling
	dialect *ttl.Dialect         // what its answers mean
	refuse  func(refusal) []byte // the body of an error, as its own SDKs read it
	made    *resourceAPI         // what is made with a key and found with it alone, or nil
	genAI   string               // OpenTelemetry's name of the provider, if it has one
}

// providers are the presets by the names that the option provider takes.
//
// Sources: what each provider's API reference says of authentication and errors,
// the types of its own SDKs, and, where neither says it, answers that people
// reported. OpenTelemetry has no name for GitHub Models.
var providers = map[string]*provider{
	"openai": {
		name:    "openai",
		auth:    providerAuth{Bearer: true},
		account: []string{"Openai-Organization", "Openai-Project"},
		dialect: ttl.OpenAI, refuse: openAIError, made: openAIResources, genAI: "openai",
	},
	"anthropic": {
		name:    "anthropic",
		auth:    providerAuth{Header: "X-Api-Key"},
		openAI:  "/v1/chat/completions",
		account: []string{"Anthropic-Workspace-Id"},
		dialect: ttl.Anthropic, refuse: anthropicError, made: anthropicResources, genAI: "anthropic",
	},
	"gemini": {
		name:    "gemini",
		auth:    providerAuth{Header: "X-Goog-Api-Key"},
		openAI:  "/v1beta/openai/",
		account: []string{"X-Goog-User-Project"},
		dialect: ttl.Gemini, refuse: geminiError, made: geminiResources, genAI: "gcp.gemini",
	},
	"azure": {
		name:    "azure",
		auth:    providerAuth{Header: "Api-Key"},
		dialect: ttl.Azure, refuse: azureError, made: openAIResources, genAI: "azure.ai.openai",
	},
	"cohere": {
		name:    "cohere",
		auth:    providerAuth{Bearer: true},
		openAI:  "/compatibility/v1/",
		dialect: ttl.Cohere, refuse: cohereError, made: cohereResources, genAI: "cohere",
	},
	"github":  {name: "github", auth: providerAuth{Bearer: true}, dialect: ttl.GitHub, refuse: gitHubError},
	"generic": {name: "generic", auth: providerAuth{Bearer: true}, dialect: ttl.Generic, refuse: openAIError, made: openAIResources},
}

// imitates tells whether the upstream imitates OpenAI's API at this path: there it
// wants a bearer token and answers in OpenAI's words. A path with dots could lead
// somewhere else, where a bearer token would be refused: a client could then cool
// every key by what it asks for.
func (p *provider) imitates(path string) bool {
	return p.openAI != "" && strings.HasPrefix(path, p.openAI) && !strings.Contains(path, "..")
}

// ambiguous tells whether it depends on how a path is read where it leads: as it is
// spelled, or once escapes are resolved and dots and doubled slashes are gone. Where
// the readings differ in how the key travels, the upstream could refuse every key.
func (p *provider) ambiguous(u *url.URL) bool {
	if p.openAI == "" || p.auth.Bearer {
		return false
	}
	plain := path.Clean("/" + strings.ReplaceAll(u.Path, `\`, "/"))
	return strings.HasPrefix(u.EscapedPath(), p.openAI) != strings.HasPrefix(plain+"/", p.openAI)
}

// credentialHeaders carry what identifies the client, or a key of its own. They
// are taken off every request, whatever the provider: what goes upstream is a key
// of the pool's.
var credentialHeaders = []string{
	"Authorization",
	"X-Api-Key",                 // Anthropic
	"Api-Key",                   // Azure OpenAI
	"Ocp-Apim-Subscription-Key", // Azure API Management, and older services of Azure's
	"X-Goog-Api-Key",            // Google
}

// accountHeaders tie a key to an account. With another key they are wrong, so
// they are taken off too, unless keep_headers names them. They are those of all
// providers: each has a name that no other gives a meaning to, and a client of
// OpenAI's sends OpenAI's wherever it is pointed at.
var accountHeaders = accountHeadersOf(providers)

func accountHeadersOf(providers map[string]*provider) []string {
	var all []string
	for _, p := range providers {
		all = append(all, p.account...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// credentialQuery are the query parameters that are taken off every request, for
// the same reason.
var credentialQuery = []string{
	"key", "$key", // Google's API keys
	"access_token", "oauth_token", // RFC 6750 §2.3; Google's tokens
	"api-key",          // Azure OpenAI's realtime API
	"subscription-key", // Azure API Management
}

// Browsers cannot set headers on a websocket handshake: OpenAI's realtime API
// takes what belongs there from sub-protocols with these prefixes.
var (
	credentialProtocols = []string{"openai-insecure-api-key."}
	accountProtocols    = map[string]string{
		"openai-organization.": "Openai-Organization",
		"openai-project.":      "Openai-Project",
	}
)
