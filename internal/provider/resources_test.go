package provider

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestResourceShows(t *testing.T) {
	for _, row := range []struct {
		sentence string
		api      *Resources
		path     string
		beta     string
		want     bool
	}{
		{"files are made", OpenAIResources, "/v1/files", "", true},
		{"a file is shown", OpenAIResources, "/v1/files/file-abc", "", true},
		{"a file's content is none", OpenAIResources, "/v1/files/file-abc/content", "", false},
		{"a stored response", OpenAIResources, "/v1/responses", "", true},
		{"behind a prefix of the site's", OpenAIResources, "/openai/v1/batches/batch_1/cancel", "", true},
		{"Azure's assistants", OpenAIResources, "/openai/threads/thread_1/runs", "", true},
		{"an ephemeral secret", OpenAIResources, "/v1/realtime/client_secrets", "", true},
		{"a chat is none", OpenAIResources, "/v1/chat/completions", "", false},
		{"nor are embeddings", OpenAIResources, "/v1/embeddings", "", false},
		{"nor is speech", OpenAIResources, "/v1/audio/speech", "", false},
		{"Azure's chat in a deployment called files", OpenAIResources, "/openai/deployments/files/chat/completions", "", false},
		{"Anthropic's batches", anthropicResources, "/v1/messages/batches", "", true},
		{"their results are content", anthropicResources, "/v1/messages/batches/msgbatch_1/results", "", false},
		{"Anthropic's messages", anthropicResources, "/v1/messages", "", false},
		{"Anthropic's messages that run code", anthropicResources, "/v1/messages", "code-execution-2025-08-25,files-api-2025-04-14", true},
		{"OpenAI has no such messages", OpenAIResources, "/v1/messages", "code-execution-2025-08-25", false},
		{"Gemini's upload", geminiResources, "/upload/v1beta/files", "", true},
		{"Gemini's cache", geminiResources, "/v1beta/cachedContents/abc", "", true},
		{"Gemini's batch", geminiResources, "/v1beta/models/gemini-x:batchGenerateContent", "", true},
		{"Gemini's generation", geminiResources, "/v1beta/models/gemini-x:generateContent", "", false},
		{"Gemini's file where OpenAI is imitated", geminiResources, "/v1beta/openai/files", "", true},
		{"Cohere's dataset", cohereResources, "/v1/datasets", "", true},
		{"the root", OpenAIResources, "/", "", false},
		{"nothing", OpenAIResources, "", "", false},
	} {
		header := http.Header{}
		if row.beta != "" {
			header.Set("anthropic-beta", row.beta)
		}
		if got := row.api.Shows(row.path, header); got != row.want {
			t.Errorf("%s: %s: %t", row.sentence, row.path, got)
		}
	}
}

// idsOf returns the ids in text.
func idsOf(a *Resources, text string) (ids []string) {
	a.Ids([]byte(text), func(id []byte) bool {
		ids = append(ids, string(id))
		return true
	})
	return ids
}

func TestResourceIDs(t *testing.T) {
	const uuid = "497f6eca-6276-4993-bfeb-53cbbbba6f08"
	for _, row := range []struct {
		sentence string
		api      *Resources
		text     string
		want     []string
	}{
		{"an id", OpenAIResources, "file-abc123", []string{"file-abc123"}},
		{"a path with several", OpenAIResources, "/v1/threads/thread_1/runs/run_2", []string{"thread_1", "run_2"}},
		{"a fine-tuned model", OpenAIResources, "ft:gpt-4o-mini:acme::abc", []string{"ft:gpt-4o-mini:acme::abc"}},
		{"a UUID", OpenAIResources, uuid, []string{uuid}},
		{"what is nearly one", OpenAIResources, uuid[:35] + "g", nil},
		{"a UUID where ids have none", anthropicResources, uuid, nil},
		{"a prefix alone", OpenAIResources, "file-", nil},
		{"a word that begins like one", OpenAIResources, "files-of-mine", nil},
		{"a model", OpenAIResources, "gpt-4o-mini", nil},
		{"a chat's id", OpenAIResources, "chatcmpl-abc", nil},
		{"a call's id", OpenAIResources, "call_abc", nil},
		{"a client's key", OpenAIResources, "sk-demo-1", nil},
		{"a query's value", OpenAIResources, "/v1/files?after=file-abc&limit=10", []string{"file-abc"}},
		{"a query alone", OpenAIResources, "?after=file-abc", []string{"file-abc"}},
		{"a text", OpenAIResources, "tell me about file-abc", nil},
		{"too long", OpenAIResources, "file-" + strings.Repeat("a", maxResourceID), nil},
		{"Anthropic's batch", anthropicResources, "/v1/messages/batches/msgbatch_1", []string{"msgbatch_1"}},
		{"Anthropic's message is not stored", anthropicResources, "msg_01", nil},
		{"Gemini's file by name", geminiResources, "files/abc-123", []string{"files/abc-123"}},
		{"by URL", geminiResources, "https://generativelanguage.googleapis.com/v1beta/files/abc-123", []string{"files/abc-123"}},
		{"by path, with a verb", geminiResources, "/v1beta/files/abc-123:download?alt=media", []string{"files/abc-123"}},
		{"within another", geminiResources, "fileSearchStores/s/documents/d", []string{"fileSearchStores/s"}},
		{"an operation of a model", geminiResources, "models/veo-x/operations/op", []string{"operations/op"}},
		{"a tuned model", geminiResources, "/v1beta/tunedModels/mine:generateContent", []string{"tunedModels/mine"}},
		{"a model", geminiResources, "/v1beta/models/gemini-x:generateContent", nil},
		{"a collection alone", geminiResources, "/v1beta/files", nil},
		{"an upload's URL", geminiResources, "https://example.com/upload/v1beta/files?upload_id=AbC&upload_protocol=resumable", []string{"upload_id=AbC"}},
		{"an ephemeral token", geminiResources, "auth_tokens/abc", []string{"auth_tokens/abc"}},
		{"nothing", OpenAIResources, "", nil},
	} {
		if got := idsOf(row.api, row.text); !slices.Equal(got, row.want) {
			t.Errorf("%s: in %q are %q, want %q", row.sentence, row.text, got, row.want)
		}
	}
}

func TestResourceHoldsID(t *testing.T) {
	for name, want := range map[string]bool{
		"id": true, "file_id": true, "file_ids": true, "previous_response_id": true, "training_file": true, "_id": false,
		"value": true, "fine_tuned_model": true, "name": false, "content": false, "text": false, "": false, "idea": false,
	} {
		if got := OpenAIResources.HoldsID([]byte(name)); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
	if !geminiResources.HoldsID([]byte("name")) || !geminiResources.HoldsID([]byte("uri")) || geminiResources.HoldsID([]byte("displayName")) {
		t.Error("Gemini's names are wrong")
	}
}
