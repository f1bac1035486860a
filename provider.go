package keycycler

import "github.com/keycycler/keycycler/ttl"

// provider is a preset: how an upstream wants its key, what its answers mean,
// and the shape of its errors. A new one is a row in providers.
type provider struct {
	auth    Auth         // how the key is sent, unless the option auth says otherwise
	dialect *ttl.Dialect // what its answers mean
	refuse  func(refusal) []byte
	genAI   string // OpenTelemetry's name of the provider, if it has one
}

var providers = map[string]*provider{
	"openai":  {auth: Auth{Bearer: true}, dialect: ttl.OpenAI, refuse: openAIError, genAI: "openai"},
	"generic": {auth: Auth{Bearer: true}, dialect: ttl.Generic, refuse: openAIError},
}

// credentialHeaders carry what identifies the client, or a key of its own. They
// are taken off every request: what goes upstream is a key of the pool's.
var credentialHeaders = []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"}

// accountHeaders tie a key to an account. With another key they are wrong, so
// they are taken off too, unless keep_headers names them.
var accountHeaders = []string{"Openai-Organization", "Openai-Project"}

// credentialQuery is the query parameter that is taken off every request.
const credentialQuery = "key"

// Browsers cannot set headers on a websocket handshake: OpenAI's realtime API
// takes what belongs there from sub-protocols with these prefixes.
var (
	credentialProtocols = []string{"openai-insecure-api-key."}
	accountProtocols    = map[string]string{
		"openai-organization.": "Openai-Organization",
		"openai-project.":      "Openai-Project",
	}
)
