package sdk

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/coder/websocket"
)

// streamed are the texts of a streamed answer: one chunk each.
var streamed = []string{"Keys ", "come ", "and ", "keys ", "cool."}

// reply is the text of an answer in one piece.
const reply = "Keys come and keys cool."

// speech is binary data, the same in every run.
var speech = randomBytes(5 << 20)

// answer is what a good key gets.
func (up *upstream) answer(w http.ResponseWriter, r *http.Request, c call) {
	w.Header().Set("X-Request-Id", "served")
	w.Header().Set("Via", "1.1 upstream")
	switch c.method + " " + c.path {
	case "POST /v1/chat/completions":
		if c.wantsStream() {
			up.stream(w, r, c, completionEvents)
			return
		}
		whole := completion("chat.completion", "message", reply)
		whole["usage"] = map[string]any{"prompt_tokens": 1240, "completion_tokens": 310, "total_tokens": 1550}
		writeJSON(w, http.StatusOK, whole)
	case "POST /v1/messages":
		if c.wantsStream() {
			up.stream(w, r, c, messageEvents)
			return
		}
		writeJSON(w, http.StatusOK, message(textBlock(reply)))
	case "POST /v1/models/demo-model:generateContent":
		writeJSON(w, http.StatusOK, content(reply))
	case "POST /v1/models/demo-model:streamGenerateContent":
		up.stream(w, r, c, contentEvents)
	case "POST /v1/files":
		writeJSON(w, http.StatusOK, map[string]any{
			"id": "file-demo", "object": "file", "bytes": c.file.Length, "created_at": 1, "filename": "demo.jsonl", "purpose": "batch", "status": "processed",
		})
	case "POST /v1/audio/speech":
		w.Header().Set("Content-Type", "audio/mpeg")
		w.Write(speech) // the client may have left
	case "GET /v1/models":
		writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": []any{}})
	case "GET /v1/realtime":
		up.realtime(w, r)
	default:
		http.NotFound(w, r)
	}
}

// wantsStream tells what a request says in its body.
func (c *call) wantsStream() bool {
	var asked struct{ Stream bool }
	return json.Unmarshal(c.small, &asked) == nil && asked.Stream
}

func completion(object, field, text string) map[string]any {
	return map[string]any{
		"id": "chatcmpl-demo", "object": object, "created": 1, "model": "demo-model",
		"choices": []any{map[string]any{
			"index": 0, "finish_reason": "stop", field: map[string]any{"role": "assistant", "content": text},
		}},
	}
}

// events are what a streamed answer is made of.
type events struct {
	begin, end string                   // what stands around the texts
	text       func(text string) string // the event that has a text
}

var completionEvents = events{
	text: func(text string) string { return sse("", completion("chat.completion.chunk", "delta", text)) },
	end:  "data: [DONE]\n\n",
}

// sse spells a server-sent event, which need not have a name.
func sse(name string, payload any) string {
	data, err := json.Marshal(payload)
	if err != nil {
		panic(err) // strings and numbers alone
	}
	if name != "" {
		name = "event: " + name + "\n"
	}
	return fmt.Sprintf("%sdata: %s\n\n", name, data)
}

// stream sends one text after the other, each only when the client says that it
// has the one before. Whatever held a text back would stop it for good.
func (up *upstream) stream(w http.ResponseWriter, r *http.Request, c call, e events) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, e.begin)
	for _, text := range streamed {
		fmt.Fprint(w, e.text(text))
		w.(http.Flusher).Flush()
		select {
		case got := <-up.acknowledged:
			if got != text {
				panic(http.ErrAbortHandler) // the client's stream breaks, and with it the test
			}
		case <-r.Context().Done():
			up.left <- c.key
			return
		case <-up.over:
			return
		}
	}
	fmt.Fprint(w, e.end)
}

// realtime greets, and sends every event back as the item it was sent with.
func (up *upstream) realtime(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"realtime"}})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow() // closed already where all went well
	conn.SetReadLimit(1 << 20)
	if err := conn.Write(r.Context(), websocket.MessageText, []byte(`{"type":"session.created","event_id":"hello"}`)); err != nil {
		return
	}
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			up.closed <- int(websocket.CloseStatus(err))
			return
		}
		if err := conn.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}
