package provider

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"github.com/keycycler/keycycler/rotator"
)

// What was made with one key (a file, a batch, a stored response) is found with that
// key alone, or with another of its organisation. So keycycler reads the ids that
// answers about such resources hold, remembers which key was used, and sends requests
// that name one of them out with that key.

// Resources is what a provider's resources look like. It is immutable.
type Resources struct {
	// Segments of the paths at which resources are made and shown: answers there are
	// read for ids. A verb behind a colon (AIP-136) is a segment of its own.
	paths map[string]bool

	// What ids begin with, up to and with the first of - _ :
	prefixes map[string]bool

	// Collections whose name and what follows it are an id: files/abc
	collections map[string]bool

	// Whether UUIDs are ids.
	uuids bool

	// Whether messages are about resources where the client asks for the beta in which
	// code is executed, in containers.
	messages bool

	// Those of prefixes and collections whose resources come by the thousand, mostly one or
	// more with each request, and are soon done with.
	passing map[string]bool

	// JSON members that hold ids, besides id, *_id, *_ids, *Id and *_file.
	members map[string]bool

	// Whether answers hold what only their key can read, or another of its organisation.
	sealed bool
}

// unread are the last segments of paths whose answers are content, not resources.
var unread = Set("content", "results", "completions", "embeddings")

// ClientText are JSON members that repeat what the client has sent. What is in them was
// not handed out by the upstream.
var ClientText = Set(
	"attributes", "arguments", "filters", "input", "instructions", "metadata", "parameters",
	"prompt", "response_format", "schema", "systemInstruction", "text", "tools", "variables",
)

func Set(words ...string) map[string]bool {
	s := make(map[string]bool, len(words))
	for _, w := range words {
		s[w] = true
	}
	return s
}

// The providers' resources.
//
// Sources: the paths and the examples of the API references and of the SDKs' types.
// Items of responses (msg_, rs_, fc_, …) count since they can be referred to, and
// since OpenAI looks stored ones up when they are sent back.
var (
	OpenAIResources = &Resources{
		paths: Set("files", "uploads", "batches", "fine_tuning", "threads", "assistants", "vector_stores", "responses",
			"conversations", "containers", "evals", "videos", "realtime", "chatkit", "skills"),
		prefixes: Set("file-", "file_", "assistant-", "upload_", "part_", "batch_", "ftjob-", "ftckpt_", "ftevent-", "ft:",
			"thread_", "asst_", "run_", "step_", "vs_", "vsfb_", "resp_", "conv_", "cntr_", "container_", "cfile_", "eval_",
			"evalrun_", "video_", "sess_", "ek_", "rtc_", "cksess_", "cthr_", "skill_",
			"msg_", "rs_", "fc_", "ctc_", "ws_", "fs_", "ci_", "ig_", "cu_", "lsh_", "mcp_", "mcpl_", "mcpr_", "cmp_"),
		passing: Set("resp_", "run_", "step_", "cntr_", "container_", "cfile_", "sess_", "ek_", "rtc_", "cksess_", "part_",
			"ftevent-", "msg_", "rs_", "fc_", "ctc_", "ws_", "fs_", "ci_", "ig_", "cu_", "lsh_", "mcp_", "mcpl_", "mcpr_", "cmp_"),
		uuids:   true, // Mistral and others that speak the dialect
		members: Set("value", "fine_tuned_model", "fine_tuned_model_checkpoint", "container", "conversation", "result_files"),
		sealed:  true,
	}
	anthropicResources = &Resources{
		paths:    Set("files", "batches", "skills"),
		prefixes: Set("file_", "msgbatch_", "container_", "skill_"),
		passing:  Set("container_"),
		messages: true,
		members:  Set("container"),
	}
	geminiResources = &Resources{
		paths: Set("files", "cachedContents", "batches", "tunedModels", "fileSearchStores", "operations", "auth_tokens",
			"batchGenerateContent", "asyncBatchEmbedContent", "predictLongRunning"),
		prefixes:    Set("file-", "batch_"), // where it imitates OpenAI
		collections: Set("files", "cachedContents", "batches", "tunedModels", "fileSearchStores", "operations", "auth_tokens", "upload_id"),
		passing:     Set("operations", "auth_tokens", "upload_id"),
		members:     Set("name", "uri"),
	}
	cohereResources = &Resources{
		paths: Set("datasets", "embed-jobs", "finetuned-models", "connectors"),
		uuids: true,
	}
)

// Shows tells whether answers to requests at this path are about resources.
func (a *Resources) Shows(path string, header http.Header) bool {
	last := path[strings.LastIndexByte(path, '/')+1:]
	if unread[last] {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if a.paths[segment] {
			return true
		}
	}
	if _, verb, ok := strings.Cut(last, ":"); ok {
		return a.paths[verb]
	}
	return a.messages && last == "messages" && usesContainers(header)
}

// usesContainers tells whether the client asks for a beta that has them.
func usesContainers(header http.Header) bool {
	return slices.ContainsFunc(header["Anthropic-Beta"], func(line string) bool {
		return strings.Contains(line, "code-execution") || strings.Contains(line, "skills")
	})
}

// HoldsID tells whether a JSON member of that name holds ids.
func (a *Resources) HoldsID(name []byte) bool {
	return string(name) == "id" || a.members[string(name)] ||
		hasAnySuffix(name, "_id", "_ids", "Id", "_file")
}

// Seals tells whether answers hold what only their key can read, and requests repeat it.
func (a *Resources) Seals() bool { return a.sealed }

func hasAnySuffix(name []byte, suffixes ...string) bool {
	for _, s := range suffixes {
		if len(name) > len(s) && string(name[len(name)-len(s):]) == s {
			return true
		}
	}
	return false
}

// Ids calls yield for each id in text, which is one, a resource's name of several
// parts, a path or a URL, until yield returns false. Nothing is allocated.
func (a *Resources) Ids(text []byte, yield func(id []byte) bool) {
	text, query, _ := bytes.Cut(text, []byte("?"))
	for start, before := 0, -1; start <= len(text); {
		end := len(text)
		if i := bytes.IndexByte(text[start:], '/'); i >= 0 {
			end = start + i
		}
		if id := a.id(text, before, start, end); id != nil && !yield(id) {
			return
		}
		before, start = start, end+1
	}
	a.idsInQuery(query, yield)
}

// id returns the id that ends with the segment from start to end, or nil. The one
// before it begins at before, below 0 where there is none.
func (a *Resources) id(text []byte, before, start, end int) []byte {
	segment := text[start:end]
	if a.isID(segment) {
		return segment
	}
	if before < 0 || !a.collections[string(text[before:start-1])] {
		return nil
	}
	name, _, _ := bytes.Cut(segment, []byte(":"))
	if len(name) == 0 {
		return nil
	}
	return text[before : start+len(name)]
}

// Resource returns what has that id.
func (a *Resources) Resource(id []byte) rotator.Resource {
	r := rotator.ResourceOf(id)
	if i := bytes.IndexAny(id, "-_:"); i >= 0 && a.passing[string(id[:i+1])] {
		return r.Passing()
	}
	if collection, _, ok := bytes.Cut(id, []byte("/")); ok && a.passing[string(collection)] {
		return r.Passing()
	}
	if parameter, _, ok := bytes.Cut(id, []byte("=")); ok && a.passing[string(parameter)] {
		return r.Passing()
	}
	return r
}

// isID tells whether text has the form of an id.
func (a *Resources) isID(text []byte) bool {
	i := bytes.IndexAny(text, "-_:")
	if i < 0 || i+1 == len(text) || len(text) > maxResourceID {
		return false
	}
	return a.prefixes[string(text[:i+1])] || a.uuids && i == 8 && isUUID(text)
}

// idsInQuery is ids for the values of a query. A parameter that is a collection gives
// its values a name: upload_id=abc.
func (a *Resources) idsInQuery(query []byte, yield func(id []byte) bool) {
	for len(query) > 0 {
		var part []byte
		part, query, _ = bytes.Cut(query, []byte("&"))
		name, value, _ := bytes.Cut(part, []byte("="))
		id := value
		if a.collections[string(name)] && len(value) > 0 {
			id = part
		} else if !a.isID(value) {
			continue
		}
		if !yield(id) {
			return
		}
	}
}

// maxResourceID is the longest id, in bytes: no longer than what a StringScanner tells. Names of fine-tuned models and the ids of
// uploads are the longest ones.
const maxResourceID = 256

// isUUID tells whether text is one, as 36 characters (RFC 9562 §4).
func isUUID(text []byte) bool {
	if len(text) != 36 {
		return false
	}
	for i, c := range text {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) {
			return false
		}
	}
	return true
}
