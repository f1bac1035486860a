// Package provider holds what differs between providers, as rows: how the key travels,
// what answers mean, the form of a refusal, which ids belong to a key.
//
// It is data with the functions that read it. It knows HTTP's names, and calls nobody. A
// provider goes here: a row of Presets, and its cases. What its answers mean is a dialect
// of package ttl.
package provider

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/keycycler/keycycler/ttl"
)

// Auth says how a key travels: exactly one of Bearer, Header and Query is set.
type Auth struct {
	Bearer bool   // as `Authorization: Bearer <key>`
	Header string // in the header of this name …
	Prefix string // … behind this word and a space, unless it is ""
	Query  string // in the query parameter of this name
}

// Preset is a preset: how an upstream wants its key, what its answers mean,
// and the shape of its errors. A new one is a row in providers.
type Preset struct {
	Name    string               // the option's value
	Auth    Auth                 // how the key is sent, unless the option auth says otherwise
	OpenAI  string               // what the paths begin with at which it imitates OpenAI's API, or ""
	account []string             // headers that tie a key to an account, in canonical spelling
	Dialect *ttl.Dialect         // what its answers mean
	refuse  func(Refusal) []byte // the body of an error, as its own SDKs read it
	Made    *Resources           // what is made with a key and found with it alone, or nil
	models  *modelForm           // how its models are listed
	GenAI   string               // OpenTelemetry's name of the provider, if it has one

	Check Check // how it is asked whether a key is any good

	// CachedFree tells that what is read from a cache does not count for its limits.
	CachedFree bool
}

// Check is a question that costs nothing, and that an upstream answers for good keys alone:
// mostly for the list of its models.
type Check struct {
	URI    string            // "": none is known
	Header map[string]string // that it wants besides the key
}

// Presets are the presets by the names that the option provider takes.
//
// Sources: what each provider's API reference says of authentication and errors,
// the types of its own SDKs, and, where neither says it, answers that people
// reported. OpenTelemetry has no name for GitHub Models.
var Presets = map[string]*Preset{
	"openai": {
		Name:    "openai",
		Auth:    Auth{Bearer: true},
		account: []string{"Openai-Organization", "Openai-Project"},
		Dialect: ttl.OpenAI, refuse: openAIError, Made: OpenAIResources, models: openAIModels, GenAI: "openai",
		Check: Check{URI: "/v1/models"},
	},
	"anthropic": {
		Name:    "anthropic",
		Auth:    Auth{Header: "X-Api-Key"},
		OpenAI:  "/v1/chat/completions",
		account: []string{"Anthropic-Workspace-Id"},
		Dialect: ttl.Anthropic, refuse: anthropicError, Made: anthropicResources, models: anthropicModels, GenAI: "anthropic", CachedFree: true,
		Check: Check{"/v1/models?limit=1", map[string]string{"Anthropic-Version": "2023-06-01"}},
	},
	"gemini": {
		Name:    "gemini",
		Auth:    Auth{Header: "X-Goog-Api-Key"},
		OpenAI:  "/v1beta/openai/",
		account: []string{"X-Goog-User-Project"},
		Dialect: ttl.Gemini, refuse: geminiError, Made: geminiResources, models: geminiModels, GenAI: "gcp.gemini",
		Check: Check{URI: "/v1beta/models?pageSize=1"},
	},
	"azure": {
		Name:    "azure",
		Auth:    Auth{Header: "Api-Key"},
		Dialect: ttl.Azure, refuse: azureError, Made: OpenAIResources, models: openAIModels.at("/openai/models", "/openai/v1/models"), GenAI: "azure.ai.openai",
		Check: Check{URI: "/openai/models?api-version=2024-10-21"},
	},
	"cohere": {
		Name:    "cohere",
		Auth:    Auth{Bearer: true},
		OpenAI:  "/compatibility/v1/",
		Dialect: ttl.Cohere, refuse: cohereError, Made: cohereResources, models: cohereModels, GenAI: "cohere",
		Check: Check{URI: "/v1/models?page_size=1"},
	},
	"github":     {Name: "github", Auth: Auth{Bearer: true}, Dialect: ttl.GitHub, refuse: gitHubError, models: openAIModels, Check: Check{URI: "/catalog/models"}},
	"volcengine": {Name: "volcengine", Auth: Auth{Bearer: true}, Dialect: ttl.Volcengine, refuse: volcengineError, models: openAIModels.at("/api/v3/models"), Check: Check{URI: "/api/v3/models"}},
	"generic":    {Name: "generic", Auth: Auth{Bearer: true}, Dialect: ttl.Generic, refuse: openAIError, Made: OpenAIResources, models: openAIModels},
}

// Imitates tells whether the upstream imitates OpenAI's API at this path: there it
// wants a bearer token and answers in OpenAI's words. A path with dots could lead
// somewhere else, where a bearer token would be refused: a client could then cool
// every key by what it asks for.
func (p *Preset) Imitates(path string) bool {
	return p.OpenAI != "" && strings.HasPrefix(path, p.OpenAI) && !strings.Contains(path, "..")
}

// Ambiguous tells whether it depends on how a path is read where it leads: as it is
// spelled, or once escapes are resolved and dots and doubled slashes are gone. Where
// the readings differ in how the key travels, the upstream could refuse every key.
func (p *Preset) Ambiguous(u *url.URL) bool {
	if p.OpenAI == "" || p.Auth.Bearer {
		return false
	}
	plain := path.Clean("/" + strings.ReplaceAll(u.Path, `\`, "/"))
	return strings.HasPrefix(u.EscapedPath(), p.OpenAI) != strings.HasPrefix(plain+"/", p.OpenAI)
}

// CredentialHeaders carry what identifies the client, or a key of its own. They
// are taken off every request, whatever the provider: what goes upstream is a key
// of the pool's.
var CredentialHeaders = []string{
	"Authorization",
	"X-Api-Key",                 // Anthropic
	"Api-Key",                   // Azure OpenAI
	"Ocp-Apim-Subscription-Key", // Azure API Management, and older services of Azure's
	"X-Goog-Api-Key",            // Google
}

// AccountHeaders tie a key to an account. With another key they are wrong, so
// they are taken off too, unless keep_headers names them. They are those of all
// providers: each has a name that no other gives a meaning to, and a client of
// OpenAI's sends OpenAI's wherever it is pointed at.
var AccountHeaders = accountHeadersOf(Presets)

func accountHeadersOf(providers map[string]*Preset) []string {
	var all []string
	for _, p := range providers {
		all = append(all, p.account...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// CredentialQuery are the query parameters that are taken off every request, for
// the same reason.
var CredentialQuery = []string{
	"key", "$key", // Google's API keys
	"access_token", "oauth_token", // RFC 6750 §2.3; Google's tokens
	"api-key",          // Azure OpenAI's realtime API
	"subscription-key", // Azure API Management
}

// Browsers cannot set headers on a websocket handshake: OpenAI's realtime API
// takes what belongs there from sub-protocols with these prefixes.
var (
	CredentialProtocols = []string{"openai-insecure-api-key."}
	AccountProtocols    = map[string]string{
		"openai-organization.": "Openai-Organization",
		"openai-project.":      "Openai-Project",
	}
)
