package provider

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// modelForm is how a provider's API lists models, for its own SDKs.
type modelForm struct {
	paths []string // besides /v1/models
	one   func(name string) any
	all   func(names []string, models []any) any
}

// openAIModels is the form of https://platform.openai.com/docs/api-reference/models/list.
var openAIModels = &modelForm{
	one: func(name string) any {
		return struct {
			ID      string `json:"id"`
			Object  string `json:"object"`
			Created int64  `json:"created"`
			OwnedBy string `json:"owned_by"`
		}{name, "model", 0, "keycycler"}
	},
	all: func(_ []string, models []any) any {
		return struct {
			Object string `json:"object"`
			Data   []any  `json:"data"`
		}{"list", models}
	},
}

// at is the form at more paths.
func (f modelForm) at(paths ...string) *modelForm {
	f.paths = paths
	return &f
}

// anthropicModels is the form of https://platform.claude.com/docs/en/api/models/list, where
// 1970 stands for a date that is not known.
var anthropicModels = &modelForm{
	one: func(name string) any {
		return struct {
			Type        string    `json:"type"`
			ID          string    `json:"id"`
			DisplayName string    `json:"display_name"`
			CreatedAt   time.Time `json:"created_at"`
		}{"model", name, name, time.Unix(0, 0).UTC()}
	},
	all: func(names []string, models []any) any {
		return struct {
			Data    []any  `json:"data"`
			HasMore bool   `json:"has_more"`
			FirstID string `json:"first_id"`
			LastID  string `json:"last_id"`
		}{models, false, names[0], names[len(names)-1]}
	},
}

// geminiModels is the form of https://ai.google.dev/api/models. Clients choose by the
// methods, of which these are all models' that generate.
var geminiModels = &modelForm{
	paths: []string{"/v1beta/models"},
	one: func(name string) any {
		return struct {
			Name        string   `json:"name"`
			DisplayName string   `json:"displayName"`
			Methods     []string `json:"supportedGenerationMethods"`
		}{"models/" + name, name, []string{"generateContent", "countTokens"}}
	},
	all: listOf,
}

// cohereModels is the form of https://docs.cohere.com/reference/list-models.
var cohereModels = &modelForm{
	one: func(name string) any {
		return struct {
			Name string `json:"name"`
		}{name}
	},
	all: listOf,
}

// listOf is the list of those who call it models.
func listOf(_ []string, models []any) any {
	return struct {
		Models []any `json:"models"`
	}{models}
}

// form returns how models are listed at the path.
func (p *Preset) form(path string) *modelForm {
	if p.Imitates(path) {
		return openAIModels
	}
	return p.models
}

// ModelsAt tells whether the path is that of the provider's list of models, or of one of
// them, whose name it returns then.
func (p *Preset) ModelsAt(path string) (name string, ok bool) {
	for _, list := range append([]string{"/v1/models", p.imitated()}, p.models.paths...) {
		rest, begins := strings.CutPrefix(path, list)
		if list == "" || !begins {
			continue
		}
		if name, one := strings.CutPrefix(rest, "/"); rest == "" || one && name != "" {
			return name, true
		}
	}
	return "", false
}

// imitated returns the path of OpenAI's list where the provider imitates it, or "".
func (p *Preset) imitated() string {
	if !strings.HasSuffix(p.OpenAI, "/") {
		return ""
	}
	return p.OpenAI + "models"
}

// WriteModels answers a request for the list of models, of which there is at least one.
func (p *Preset) WriteModels(w http.ResponseWriter, path string, names []string) error {
	form := p.form(path)
	models := make([]any, 0, len(names))
	for _, name := range names {
		models = append(models, form.one(name))
	}
	return writeJSON(w, form.all(names, models))
}

// WriteModel answers a request for one model.
func (p *Preset) WriteModel(w http.ResponseWriter, path, name string) error {
	return writeJSON(w, p.form(path).one(name))
}

func writeJSON(w http.ResponseWriter, v any) error {
	body := marshal(v)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	_, err := w.Write(body)
	return err
}
